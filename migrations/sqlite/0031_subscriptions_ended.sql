-- The stays that have ended, which are deleted once nothing is pending in them. Cursors are not in it: confirmations do not
-- touch it.
CREATE INDEX subscriptions_ended ON subscriptions (open_mark, id);
