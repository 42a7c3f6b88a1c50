-- Who has ever written to whom: one row a pair and direction, so that the stranger limit costs the same however much
-- was written, and survives the removal of old messages.
CREATE TABLE contacts (
    sender_id INTEGER NOT NULL,
    recipient_id INTEGER NOT NULL,
    PRIMARY KEY (sender_id, recipient_id)
) WITHOUT ROWID;
