-- A group. last_seq numbers its messages; version grows with every change of its members, so that a cached roster can
-- be checked inside the transaction that stores a message. status: 0 dissolved or disabled, 1 normal, 2 locked.
CREATE TABLE chat_groups (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid TEXT NOT NULL,
    owner_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    avatar TEXT NOT NULL,
    remark TEXT NOT NULL,
    invite_confirm INTEGER NOT NULL DEFAULT 0,
    status INTEGER NOT NULL DEFAULT 1,
    last_seq INTEGER NOT NULL DEFAULT 0,
    version INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX chat_groups_uuid ON chat_groups (uuid);
CREATE INDEX chat_groups_owner ON chat_groups (owner_id);
