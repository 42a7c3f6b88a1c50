-- One stay of one person in one group, with the cursor of what has been delivered: due are the group's messages after
-- delivered_seq and up to until_seq; those for active members only after active_from_seq as well. Leaving sets until_seq,
-- so that what was pending still arrives; open_mark is 1 while the stay lasts and NULL afterwards.
CREATE TABLE subscriptions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    group_id INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    delivered_seq INTEGER NOT NULL,
    active_from_seq INTEGER NOT NULL,
    until_seq INTEGER NOT NULL DEFAULT 9223372036854775807,
    open_mark INTEGER NULL DEFAULT 1
);
CREATE UNIQUE INDEX subscriptions_open ON subscriptions (group_id, user_id, open_mark);
CREATE INDEX subscriptions_user ON subscriptions (user_id, group_id);
