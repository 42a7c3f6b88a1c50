-- A group. last_seq numbers its messages; version grows with every change of its members, so that a cached roster can
-- be checked inside the transaction that stores a message. status: 0 dissolved or disabled, 1 normal, 2 locked.
CREATE TABLE chat_groups (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    uuid VARCHAR(36) NOT NULL,
    owner_id BIGINT NOT NULL,
    name VARCHAR(50) NOT NULL,
    avatar TEXT NOT NULL,
    remark TEXT NOT NULL,
    invite_confirm TINYINT NOT NULL DEFAULT 0,
    status TINYINT NOT NULL DEFAULT 1,
    last_seq BIGINT NOT NULL DEFAULT 0,
    version BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE KEY chat_groups_uuid (uuid),
    KEY chat_groups_owner (owner_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
