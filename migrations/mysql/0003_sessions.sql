-- The one live token of each user and role; a token that is not here is superseded or revoked.
CREATE TABLE sessions (
    user_id BIGINT NOT NULL,
    role VARCHAR(20) NOT NULL,
    token_id VARCHAR(36) NOT NULL,
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, role)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
