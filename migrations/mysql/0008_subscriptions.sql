-- One stay of one person in one group, with the cursor of what has been delivered: due are the group's messages after
-- delivered_seq and up to until_seq; those for active members only after active_from_seq as well. Leaving sets until_seq,
-- so that what was pending still arrives; open_mark is 1 while the stay lasts and NULL afterwards.
CREATE TABLE subscriptions (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    group_id BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    delivered_seq BIGINT NOT NULL,
    active_from_seq BIGINT NOT NULL,
    until_seq BIGINT NOT NULL DEFAULT 9223372036854775807,
    open_mark TINYINT NULL DEFAULT 1,
    UNIQUE KEY subscriptions_open (group_id, user_id, open_mark),
    KEY subscriptions_user (user_id, group_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
