-- Whether one ever agreed to the other, however often it was refused before.
CREATE INDEX friend_applications_status ON friend_applications (user_id, friend_id, status);
