-- Direct messages that were not confirmed soon after they were stored: where a drain finds them. A message that is confirmed
-- at once never gets a row, and a row may say less than the cursors do: then it is spent.
CREATE TABLE backlog (
    user_id INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    PRIMARY KEY (user_id, message_id)
) WITHOUT ROWID;
