-- Direct messages that were not confirmed soon after they were stored: where a drain finds them. A message that is confirmed
-- at once never gets a row, and a row may say less than the cursors do: then it is spent.
CREATE TABLE backlog (
    user_id BIGINT NOT NULL,
    message_id BIGINT NOT NULL,
    PRIMARY KEY (user_id, message_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
