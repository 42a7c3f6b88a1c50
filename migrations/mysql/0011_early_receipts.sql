-- Messages that were confirmed while older ones were still pending, so that the cursors could not pass them.
CREATE TABLE early_receipts (
    user_id BIGINT NOT NULL,
    message_id BIGINT NOT NULL,
    PRIMARY KEY (user_id, message_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
