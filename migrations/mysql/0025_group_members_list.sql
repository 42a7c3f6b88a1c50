-- The active members of a group in the order in which they came: the first nine make up its picture, however many there are.
CREATE INDEX group_members_list ON group_members (group_id, status, id);
