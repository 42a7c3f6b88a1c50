//! What MySQL and MariaDB say about a plan, and how many rows they then read.

use sqlx::{Connection, Executor, MySqlConnection, Row};

/// Rows that a statement may read beside those that it finds: both ends of ranges, and the first and last rows of joins.
const READS_BESIDE: i64 = 20;
/// The same for each that it finds: in an index, in its table, in those that belong to it, and in what is found inside.
const READS_EACH: i64 = 8;

/// The plan of `text`, a step a line: table, kind of access, index, and remarks.
pub async fn plan(conn: &mut MySqlConnection, text: &str) -> Vec<String> {
    let rows = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("EXPLAIN FORMAT=TRADITIONAL {text}"))).fetch_all(conn).await;
    let rows = rows.unwrap_or_else(|cause| panic!("{text}: {cause}"));
    let column = |row: &sqlx::mysql::MySqlRow, name: &str| row.get::<Option<String>, _>(name).unwrap_or_default();
    let step = |row| ["table", "type", "key", "Extra"].map(|name| column(row, name)).join(" | ");
    rows.iter().map(step).collect()
}

/// What is wrong with a step.
pub fn fault(step: &str) -> Option<&'static str> {
    let columns: Vec<&str> = step.split(" | ").collect();
    let [table, access, _, remarks] = columns[..] else { panic!("four columns: {step}") };
    if remarks.contains("Impossible") || remarks.contains("no matching row") {
        return Some("was shown values that it finds nothing for");
    }
    if remarks.contains("filesort") {
        return Some("sorts");
    }
    if remarks.contains("temporary") {
        return Some("makes a table for one statement");
    }
    // `<derived2>` is what a query inside the statement has found.
    let walks = matches!(access, "ALL" | "index") && !table.starts_with('<');
    walks.then_some("walks through a table")
}

/// Runs `text` and takes it back. Says so if it reads far more rows than it finds.
pub async fn excess(conn: &mut MySqlConnection, text: &str) -> Option<String> {
    // Rows that are packed into one text are told apart again.
    let (_, rows) = text.split_once(" FROM (").unwrap_or_default();
    let text = if text.contains("GROUP_CONCAT(") { format!("SELECT * FROM ({rows}") } else { text.to_owned() };
    let mut tx = conn.begin().await.unwrap();
    let (first, before) = (reads(&mut tx).await, reads(&mut tx).await);
    let found = if text.starts_with("SELECT") {
        i64::try_from(tx.fetch_all(sqlx::raw_sql(sqlx::AssertSqlSafe(text.clone()))).await.unwrap().len()).unwrap()
    } else {
        let done = tx.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(text.clone()))).await;
        i64::try_from(done.unwrap_or_else(|cause| panic!("{text}: {cause}")).rows_affected()).unwrap()
    };
    // Asking reads rows too.
    let read = reads(&mut tx).await - before - (before - first);
    tx.rollback().await.unwrap();
    (read > READS_BESIDE + READS_EACH * found).then(|| format!("reads {read} rows to find {found}"))
}

/// Rows that this connection has read so far, and entries of indexes that it has looked at and passed over.
async fn reads(conn: &mut MySqlConnection) -> i64 {
    let counters = "SHOW SESSION STATUS WHERE Variable_name LIKE 'Handler_read%' \
        OR Variable_name = 'Handler_icp_attempts'";
    let rows = conn.fetch_all(counters).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>("Value").parse::<i64>().unwrap()).sum()
}
