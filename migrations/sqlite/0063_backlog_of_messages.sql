-- What is pending of the messages that were stored before there was a backlog.
INSERT INTO backlog (user_id, message_id)
SELECT m.recipient_id, m.id FROM messages m LEFT JOIN inboxes i ON i.user_id = m.recipient_id
WHERE m.recipient_id IS NOT NULL AND m.id > COALESCE(i.delivered_id, 0)
AND m.id <= (SELECT filed_id FROM backlog_progress) ORDER BY m.recipient_id, m.id;
