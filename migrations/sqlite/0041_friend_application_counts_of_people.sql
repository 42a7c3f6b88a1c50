-- The counts of the people who were asked before there were any; an import runs the same statement.
INSERT INTO friend_application_counts (user_id, pending)
SELECT friend_id, COUNT(*) FROM friend_applications WHERE pending_mark = 1 GROUP BY friend_id;
