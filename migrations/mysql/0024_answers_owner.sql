-- A person's entries of every kind, newest first: what the automatic reply compares with a question.
CREATE INDEX answers_owner ON answers (user_id, id);
