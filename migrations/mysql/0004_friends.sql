-- One side of a friendship: user_id's view of friend_id. The unique pair is what makes racing accepts safe.
CREATE TABLE friends (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    user_id BIGINT NOT NULL,
    friend_id BIGINT NOT NULL,
    remark VARCHAR(50) NOT NULL DEFAULT '',
    friendlookme TINYINT NOT NULL DEFAULT 1,
    melookfriend TINYINT NOT NULL DEFAULT 1,
    starred TINYINT NOT NULL DEFAULT 0,
    blocked TINYINT NOT NULL DEFAULT 0,
    status TINYINT NOT NULL DEFAULT 1,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE KEY friends_pair (user_id, friend_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
