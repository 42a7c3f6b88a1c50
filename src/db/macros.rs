//! One statement, two native drivers: each macro binds the same values on whichever connection it is given.
//!
//! The short forms take the values in order. The `_with` forms take a block that binds, for lists:
//! `fetch_all_with!(conn, Row, sql, q => { for id in ids { q = q.bind(id); } q })`.

/// Runs a statement that changes rows: `Result<Done>`.
macro_rules! execute {
    ($conn:expr, $sql:expr $(, $value:expr)* $(,)?) => {
        $crate::db::execute_with!($conn, $sql, q => { q $(.bind($value))* })
    };
}

/// As [`execute`], with a block that binds.
macro_rules! execute_with {
    ($conn:expr, $sql:expr, $q:ident => $bind:block) => {
        match &mut *$conn {
            $crate::db::Conn::MySql(c) => {
                #[allow(unused_mut, reason = "only blocks that loop assign to it")]
                let mut $q = sqlx::query::<sqlx::MySql>($sql);
                let bound = $bind;
                let asked = async {
                    let done = bound.execute(c.start()).await;
                    c.ended(done.as_ref().err());
                    Ok(done?.into())
                };
                $crate::db::in_time(asked).await
            }
            $crate::db::Conn::Sqlite(c) => {
                #[allow(unused_mut, reason = "only blocks that loop assign to it")]
                let mut $q = sqlx::query::<sqlx::Sqlite>($sql);
                let bound = $bind;
                bound.execute(&mut **c).await.map($crate::db::Done::from).map_err($crate::error::AppError::from)
            }
        }
    };
}

/// The inner form of the fetching macros.
macro_rules! fetch {
    ($method:ident, $conn:expr, $row:ty, $sql:expr, $q:ident => $bind:block) => {
        match &mut *$conn {
            $crate::db::Conn::MySql(c) => {
                #[allow(unused_mut, reason = "only blocks that loop assign to it")]
                let mut $q = sqlx::query_as::<sqlx::MySql, $row>($sql);
                let bound = $bind;
                let asked = async {
                    let done = bound.$method(c.start()).await;
                    c.ended(done.as_ref().err());
                    Ok(done?)
                };
                $crate::db::in_time(asked).await
            }
            $crate::db::Conn::Sqlite(c) => {
                #[allow(unused_mut, reason = "only blocks that loop assign to it")]
                let mut $q = sqlx::query_as::<sqlx::Sqlite, $row>($sql);
                let bound = $bind;
                bound.$method(&mut **c).await.map_err($crate::error::AppError::from)
            }
        }
    };
}

/// The row, which must exist: `Result<Row>`. For a single value, ask for `(i64,)`.
macro_rules! fetch_one {
    ($conn:expr, $row:ty, $sql:expr $(, $value:expr)* $(,)?) => {
        $crate::db::macros::fetch!(fetch_one, $conn, $row, $sql, q => { q $(.bind($value))* })
    };
}

/// The row, if there is one: `Result<Option<Row>>`.
macro_rules! fetch_optional {
    ($conn:expr, $row:ty, $sql:expr $(, $value:expr)* $(,)?) => {
        $crate::db::macros::fetch!(fetch_optional, $conn, $row, $sql, q => { q $(.bind($value))* })
    };
}

/// All rows: `Result<Vec<Row>>`. The statement has a LIMIT, or a bound that its doc names.
macro_rules! fetch_all {
    ($conn:expr, $row:ty, $sql:expr $(, $value:expr)* $(,)?) => {
        $crate::db::macros::fetch!(fetch_all, $conn, $row, $sql, q => { q $(.bind($value))* })
    };
}

/// As [`fetch_all`], with a block that binds.
macro_rules! fetch_all_with {
    ($conn:expr, $row:ty, $sql:expr, $q:ident => $bind:block) => {
        $crate::db::macros::fetch!(fetch_all, $conn, $row, $sql, $q => $bind)
    };
}

pub(crate) use {execute, execute_with, fetch, fetch_all, fetch_all_with, fetch_one, fetch_optional};
