-- One row: up to this id, every direct message that is pending has a row in the backlog.
CREATE TABLE backlog_progress (
    id BIGINT NOT NULL PRIMARY KEY,
    filed_id BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
