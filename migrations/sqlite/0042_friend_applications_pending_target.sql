-- Those who wait are no longer counted by their rows.
DROP INDEX friend_applications_pending_target;
