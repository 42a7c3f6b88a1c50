-- The friend list in the order in which it grew, page by page.
CREATE INDEX friends_list ON friends (user_id, id);
