-- Who asked whom to be friends. pending_mark is 1 while pending and NULL afterwards, so that the unique index allows one
-- pending row a pair and any number of settled ones.
CREATE TABLE friend_applications (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    user_id BIGINT NOT NULL,
    friend_id BIGINT NOT NULL,
    note VARCHAR(50) NOT NULL DEFAULT '',
    status VARCHAR(20) NOT NULL DEFAULT 'pending',
    pending_mark TINYINT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE KEY friend_applications_pending (user_id, friend_id, pending_mark),
    KEY friend_applications_target (friend_id, id),
    KEY friend_applications_pending_target (friend_id, pending_mark)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
