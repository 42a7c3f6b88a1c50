//! What a driver's error means: to a caller, a store that is away (503, try again) or a bug (500); to an operator, what to do.

use sqlx::error::DatabaseError;
use sqlx::mysql::{MySqlDatabaseError, MySqlQueryResult};
use sqlx::sqlite::{SqliteError, SqliteQueryResult};

use super::Done;
use crate::error::AppError;

/// "Deadlock found when trying to get lock".
const MYSQL_DEADLOCK: u16 = 1213;
/// MySQL errors that pass: disk full (as the server, a write, the storage engine, a table and a commit report it), too many
/// connections (in all, and for this account in two ways), shutdown, lock wait timeout, deadlock, killed, a statement's time limit, read-only
/// fail-over, offline mode, silent for too long, a host that is barred after too many errors, too many prepared statements, one that was
/// prepared for a table which has changed, a replication plug-in that refuses; a password that an operator has changed before the server's,
/// an account that he has locked (MySQL's number, MariaDB's).
const MYSQL_PASSING: [u16; 28] = [
    1021, 1026, 1030, 1114, 1180, 1040, 1203, 1226, 1053, 1205, 1213, 1290, 1317, 3024, 1792, 1836, 1927, 3032, 4031,
    1129, 1461, 1615, 3098, 3100, 3101, 1045, 3118, 4151,
];
/// What a server says that another has taken the place of: it may only be read, or is about to go.
const MYSQL_REPLACED: [u16; 4] = [1290, 1792, 1836, 3032];
/// SQLite primary result codes that pass: busy, locked, read-only, I/O error, full, cannot open.
const SQLITE_PASSING: [i32; 6] = [5, 6, 8, 10, 13, 14];

/// Of those, what lasts until somebody acts: a full disk, a store that may only be read, tables that its replication refuses.
const MYSQL_LASTING: [u16; 9] = [1021, 1026, 1030, 1114, 1180, 1290, 1792, 1836, 3098];
/// As [`MYSQL_LASTING`].
const SQLITE_LASTING: [i32; 4] = [8, 10, 13, 14];

/// What MySQL says to whoever may not do this: with the database, with the table, with the column, or at all.
const MYSQL_DENIED: [u16; 4] = [1044, 1142, 1143, 1227];

impl From<sqlx::Error> for AppError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        let passes = match &error {
            // What a driver cannot do with this server, as with a password that MySQL no longer knows and no TLS, may end with it.
            E::Io(_)
            | E::Tls(_)
            | E::Protocol(_)
            | E::Configuration(_)
            | E::PoolTimedOut
            | E::PoolClosed
            | E::WorkerCrashed => true,
            E::Database(e) => is_among(e.as_ref(), &MYSQL_PASSING, &SQLITE_PASSING),
            _ => false,
        };
        if passes { Self::unavailable(error) } else { Self::internal(error) }
    }
}

fn is_among(error: &dyn DatabaseError, mysql: &[u16], sqlite: &[i32]) -> bool {
    if let Some(e) = error.try_downcast_ref::<MySqlDatabaseError>() {
        return mysql.contains(&e.number());
    }
    if error.try_downcast_ref::<SqliteError>().is_some() {
        let code: i32 = error.code().and_then(|code| code.parse().ok()).unwrap_or(0);
        return sqlite.contains(&(code & 0xff));
    }
    false
}

/// Whether the store takes nothing until an operator acts: its disk is full, it may only be read, or the driver cannot log in there.
pub fn needs_operator(error: &AppError) -> bool {
    let AppError::Busy(Some(source)) = error else { return false };
    match source.downcast_ref() {
        Some(sqlx::Error::Database(error)) => is_among(error.as_ref(), &MYSQL_LASTING, &SQLITE_LASTING),
        Some(sqlx::Error::Configuration(_)) => true,
        _ => false,
    }
}

/// Whether a unique index refused the row; the transaction goes on.
pub fn is_unique_violation(error: &AppError) -> bool {
    let (AppError::Internal(source) | AppError::Busy(Some(source))) = error else { return false };
    matches!(source.downcast_ref::<sqlx::Error>(), Some(sqlx::Error::Database(e)) if e.is_unique_violation())
}

/// Whether the engine rolled the transaction back because it and another waited for each other: to be tried again.
pub fn is_deadlock(error: &AppError) -> bool {
    let AppError::Busy(Some(source)) = error else { return false };
    source.downcast_ref::<sqlx::Error>().and_then(mysql_number) == Some(MYSQL_DEADLOCK)
}

/// MySQL's number of the error, if it is one of MySQL's.
pub(super) fn mysql_number(cause: &sqlx::Error) -> Option<u16> {
    let sqlx::Error::Database(error) = cause else { return None };
    error.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number)
}

/// Whether the server of this connection is none to write to any more, as after a fail-over.
pub(super) fn is_replaced(cause: &sqlx::Error) -> bool {
    mysql_number(cause).is_some_and(|number| MYSQL_REPLACED.contains(&number))
}

/// What an operator can do about a refusal for want of rights; "" for anything else.
pub(super) fn advice(cause: &sqlx::Error) -> &'static str {
    if mysql_number(cause).is_some_and(|number| MYSQL_DENIED.contains(&number)) {
        "; on a database of its own Qingniao needs every right: GRANT ALL ON `database`.* TO 'user'@'host'"
    } else {
        ""
    }
}

impl From<MySqlQueryResult> for Done {
    fn from(done: MySqlQueryResult) -> Self {
        Self { rows: done.rows_affected(), id: i64::try_from(done.last_insert_id()).unwrap_or(i64::MAX) }
    }
}

impl From<SqliteQueryResult> for Done {
    fn from(done: SqliteQueryResult) -> Self {
        Self { rows: done.rows_affected(), id: done.last_insert_rowid() }
    }
}
