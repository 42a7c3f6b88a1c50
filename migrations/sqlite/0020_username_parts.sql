-- Where each registered username occurs in a search: the name itself (whole = 1) and every shorter end of it, in lower
-- case. A name that contains a keyword then has a part that begins with it, so that a search reads one range of the
-- primary key, as long as its answer, however many users there are. Guests are not searched and have no rows.
CREATE TABLE username_parts (
    whole INTEGER NOT NULL,
    part BLOB NOT NULL,
    user_id INTEGER NOT NULL,
    PRIMARY KEY (whole, part, user_id)
) WITHOUT ROWID;
