-- Messages that were confirmed while older ones were still pending, so that the cursors could not pass them.
CREATE TABLE early_receipts (
    user_id INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    PRIMARY KEY (user_id, message_id)
) WITHOUT ROWID;
