-- The cursor of a person's direct messages: those with a higher id are pending.
CREATE TABLE inboxes (
    user_id BIGINT NOT NULL PRIMARY KEY,
    delivered_id BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
