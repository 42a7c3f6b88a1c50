-- Tokens by when they end: those that are over are deleted.
CREATE INDEX sessions_expires ON sessions (expires_at);
