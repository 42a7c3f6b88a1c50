-- What userinfo shows of a person beside the account itself; one row a user.
CREATE TABLE profiles (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    user_id BIGINT NOT NULL,
    gender VARCHAR(20) NOT NULL DEFAULT 'unknown',
    birthday_at BIGINT NULL,
    bio VARCHAR(200) NULL,
    location VARCHAR(100) NULL,
    website VARCHAR(255) NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE KEY profiles_user_id (user_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
