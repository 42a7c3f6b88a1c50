//! Another program's MySQL database, to be read from: all of it as it was in one moment, and nothing in it can be changed.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use sqlx::mysql::{MySqlColumn, MySqlConnectOptions, MySqlRow};
use sqlx::{Column, Executor, MySql, MySqlConnection, Row, Type};
use tokio::time::timeout;

use super::lease::LONG_SESSION;
use super::open::{connect, unreached};
use crate::error::{AppError, Result};

/// Columns of type TIMESTAMP are read in the zone in which the old backend writes those of type DATETIME (contract: people §5); MySQL 8 tells
/// the next id of a table as it is, and not as it was yesterday. Between two statements there may be much to do elsewhere.
const BEGIN: [&str; 4] = [
    "SET time_zone = '+08:00' /*!80000 , SESSION information_schema_stats_expiry = 0 */",
    LONG_SESSION,
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
];
/// How long a statement may take. The longest count the rows of a table.
const STATEMENT_MAX: Duration = Duration::from_mins(5);

/// A connection that reads in one transaction.
#[derive(Debug)]
pub struct Snapshot {
    connection: MySqlConnection,
    /// What messages call it.
    name: &'static str,
}

/// What stands in one column of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Nothing.
    Null,
    /// A whole number.
    Int(i64),
    /// Anything else.
    Text(String),
}

impl Snapshot {
    /// Of the database at `url`; `name` is what messages call it.
    pub async fn open(url: &str, name: &'static str) -> Result<Self> {
        let options = MySqlConnectOptions::from_str(url)?.charset("utf8mb4");
        let begun = async {
            let mut connection = connect(&options).await?;
            for statement in BEGIN {
                connection.execute(statement).await?;
            }
            Ok(Self { connection, name })
        };
        begun.await.map_err(|cause: sqlx::Error| unreached(name, &options, &cause.to_string()))
    }

    /// The one number that a statement finds.
    pub async fn number(&mut self, statement: &'static str) -> Result<i64> {
        let asked = sqlx::query_scalar(statement).fetch_one(&mut self.connection);
        in_time(self.name, asked).await
    }

    /// The rows that a statement finds which asks for those after one id, up to its own limit.
    pub async fn rows_after(&mut self, statement: &'static str, id: i64) -> Result<Vec<Vec<Cell>>> {
        let asked = async {
            let rows = sqlx::query(statement).bind(id).fetch_all(&mut self.connection).await?;
            rows.iter().map(cells).collect()
        };
        in_time(self.name, asked).await
    }
}

async fn in_time<T>(name: &str, asked: impl Future<Output = sqlx::Result<T>>) -> Result<T> {
    let told = |cause: &dyn Display| AppError::internal(format!("{name}: {cause}"));
    timeout(STATEMENT_MAX, asked).await.map_err(|late| told(&late))?.map_err(|cause| told(&cause))
}

fn cells(row: &MySqlRow) -> sqlx::Result<Vec<Cell>> {
    let cell = |column: &MySqlColumn| {
        let at = column.ordinal();
        let kind = column.type_info();
        Ok(if <i64 as Type<MySql>>::compatible(kind) {
            row.try_get::<Option<_>, _>(at)?.map_or(Cell::Null, Cell::Int)
        } else if <u64 as Type<MySql>>::compatible(kind) {
            row.try_get::<Option<u64>, _>(at)?.map_or(Cell::Null, |number| Cell::Int(number.cast_signed()))
        } else {
            row.try_get::<Option<_>, _>(at)?.map_or(Cell::Null, Cell::Text)
        })
    };
    row.columns().iter().map(cell).collect()
}
