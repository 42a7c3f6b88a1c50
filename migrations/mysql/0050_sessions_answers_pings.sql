-- Whether the client that bears the token has ever answered a ping: then one that is not answered means a broken network.
ALTER TABLE sessions ADD COLUMN answers_pings TINYINT NOT NULL DEFAULT 0;
