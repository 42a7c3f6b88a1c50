-- Who is in a group. status: 0 muted or disabled, 1 normal, 2 waiting for the owner's approval.
CREATE TABLE group_members (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    group_id INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    nickname TEXT NOT NULL DEFAULT '',
    avatar TEXT NOT NULL DEFAULT '',
    status INTEGER NOT NULL DEFAULT 1,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX group_members_pair ON group_members (group_id, user_id);
CREATE INDEX group_members_user ON group_members (user_id, status, group_id);
