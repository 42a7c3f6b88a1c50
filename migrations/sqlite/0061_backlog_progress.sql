-- One row: up to this id, every direct message that is pending has a row in the backlog.
CREATE TABLE backlog_progress (
    id INTEGER PRIMARY KEY,
    filed_id INTEGER NOT NULL
);
