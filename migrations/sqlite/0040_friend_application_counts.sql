-- How many applications to each person have no answer. The list tells that number with each of its pages, and counting the
-- rows would cost more the more there are. Whoever was never asked has no row.
CREATE TABLE friend_application_counts (
    user_id INTEGER PRIMARY KEY,
    pending INTEGER NOT NULL
);
