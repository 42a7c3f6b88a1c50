-- How many applications to each person have no answer. The list tells that number with each of its pages, and counting the
-- rows would cost more the more there are. Whoever was never asked has no row.
CREATE TABLE friend_application_counts (
    user_id BIGINT NOT NULL PRIMARY KEY,
    pending BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
