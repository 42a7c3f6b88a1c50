-- One side of a friendship: user_id's view of friend_id. The unique pair is what makes racing accepts safe.
CREATE TABLE friends (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER NOT NULL,
    friend_id INTEGER NOT NULL,
    remark TEXT NOT NULL DEFAULT '',
    friendlookme INTEGER NOT NULL DEFAULT 1,
    melookfriend INTEGER NOT NULL DEFAULT 1,
    starred INTEGER NOT NULL DEFAULT 0,
    blocked INTEGER NOT NULL DEFAULT 0,
    status INTEGER NOT NULL DEFAULT 1,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX friends_pair ON friends (user_id, friend_id);
