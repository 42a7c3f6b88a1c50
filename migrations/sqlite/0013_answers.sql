-- Questions and answers that a person prepared for the automatic reply.
CREATE TABLE answers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER NOT NULL,
    kind TEXT NOT NULL DEFAULT '',
    ask TEXT NOT NULL,
    answer TEXT NOT NULL,
    like_count INTEGER NOT NULL DEFAULT 0,
    liked INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
CREATE INDEX answers_user ON answers (user_id, kind, id);
