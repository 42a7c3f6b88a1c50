-- The cursor of a person's direct messages: those with a higher id are pending.
CREATE TABLE inboxes (
    user_id INTEGER PRIMARY KEY,
    delivered_id INTEGER NOT NULL
);
