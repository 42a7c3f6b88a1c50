-- Who asked whom to be friends. pending_mark is 1 while pending and NULL afterwards, so that the unique index allows one
-- pending row a pair and any number of settled ones.
CREATE TABLE friend_applications (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER NOT NULL,
    friend_id INTEGER NOT NULL,
    note TEXT NOT NULL DEFAULT '',
    status TEXT NOT NULL DEFAULT 'pending',
    pending_mark INTEGER NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX friend_applications_pending ON friend_applications (user_id, friend_id, pending_mark);
CREATE INDEX friend_applications_target ON friend_applications (friend_id, id);
CREATE INDEX friend_applications_pending_target ON friend_applications (friend_id, pending_mark);
