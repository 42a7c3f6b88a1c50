-- All messages so far are filed (0061).
INSERT INTO backlog_progress (id, filed_id) SELECT 1, COALESCE(MAX(id), 0) FROM messages;
