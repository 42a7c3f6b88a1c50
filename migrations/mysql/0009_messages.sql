-- Everything that is pushed. A direct row (recipient_id) is due to one person; a group row (group_id, seq) to the group's
-- subscriptions, by audience: 0 active members except the sender, 1 active members, 2 every member. uuid is set on chat
-- messages only: a notice cannot be revoked. Rows are inserted under the posting lock, so ids grow in commit order.
CREATE TABLE messages (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    uuid BINARY(16) NULL,
    sender_id BIGINT NOT NULL,
    recipient_id BIGINT NULL,
    group_id BIGINT NULL,
    seq BIGINT NULL,
    audience TINYINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    size INT NOT NULL,
    body MEDIUMTEXT NOT NULL,
    UNIQUE KEY messages_uuid (uuid),
    KEY messages_recipient (recipient_id, id),
    KEY messages_group (group_id, seq)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
