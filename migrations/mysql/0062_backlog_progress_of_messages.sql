-- All messages so far are filed by what follows.
INSERT INTO backlog_progress (id, filed_id) SELECT 1, COALESCE(MAX(id), 0) FROM messages;
