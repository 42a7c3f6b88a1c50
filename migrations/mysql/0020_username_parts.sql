-- Where each registered username occurs in a search: the name itself (whole = 1) and every shorter end of it, in lower
-- case. A name that contains a keyword then has a part that begins with it, so that a search reads one range of the
-- primary key, as long as its answer, however many users there are. Guests are not searched and have no rows.
CREATE TABLE username_parts (
    whole TINYINT NOT NULL,
    part VARBINARY(200) NOT NULL,
    user_id BIGINT NOT NULL,
    PRIMARY KEY (whole, part, user_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
