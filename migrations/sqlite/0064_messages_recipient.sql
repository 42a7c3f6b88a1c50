-- Each message changed a page of its own in it, a fifth of its whole cost; the backlog holds the few that are asked for.
DROP INDEX messages_recipient;
