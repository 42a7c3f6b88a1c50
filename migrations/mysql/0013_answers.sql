-- Questions and answers that a person prepared for the automatic reply.
CREATE TABLE answers (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    user_id BIGINT NOT NULL,
    kind VARCHAR(50) NOT NULL DEFAULT '',
    ask TEXT NOT NULL,
    answer TEXT NOT NULL,
    like_count INT NOT NULL DEFAULT 0,
    liked TINYINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    KEY answers_user (user_id, kind, id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
