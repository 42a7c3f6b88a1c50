-- The one live token of each user and role; a token that is not here is superseded or revoked.
CREATE TABLE sessions (
    user_id INTEGER NOT NULL,
    role TEXT NOT NULL,
    token_id TEXT NOT NULL,
    issued_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, role)
) WITHOUT ROWID;
