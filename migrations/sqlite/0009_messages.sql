-- Everything that is pushed. A direct row (recipient_id) is due to one person; a group row (group_id, seq) to the group's
-- subscriptions, by audience: 0 active members except the sender, 1 active members, 2 every member. uuid is set on chat
-- messages only: a notice cannot be revoked. Rows are inserted under the posting lock, so ids grow in commit order.
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid BLOB NULL,
    sender_id INTEGER NOT NULL,
    recipient_id INTEGER NULL,
    group_id INTEGER NULL,
    seq INTEGER NULL,
    audience INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    size INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX messages_uuid ON messages (uuid) WHERE uuid IS NOT NULL;
CREATE INDEX messages_recipient ON messages (recipient_id, id) WHERE recipient_id IS NOT NULL;
CREATE INDEX messages_group ON messages (group_id, seq) WHERE group_id IS NOT NULL;
