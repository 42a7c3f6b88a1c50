-- Who is in a group. status: 0 muted or disabled, 1 normal, 2 waiting for the owner's approval.
CREATE TABLE group_members (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    group_id BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    nickname VARCHAR(50) NOT NULL DEFAULT '',
    avatar VARCHAR(1000) NOT NULL DEFAULT '',
    status TINYINT NOT NULL DEFAULT 1,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE KEY group_members_pair (group_id, user_id),
    KEY group_members_user (user_id, status, group_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
