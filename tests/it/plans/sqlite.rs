//! What SQLite says about a plan. Its choice does not depend on what the tables hold: the server never runs ANALYZE there.

use sqlx::{Row, SqliteConnection};

/// The plan of `text`, a step a line.
pub async fn plan(conn: &mut SqliteConnection, text: &str) -> Vec<String> {
    let rows = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {text}"))).fetch_all(conn).await;
    rows.unwrap_or_else(|cause| panic!("{text}: {cause}")).iter().map(|row| row.get("detail")).collect()
}

/// What is wrong with a step of the plan of `text`.
pub fn fault(step: &str, text: &str) -> Option<&'static str> {
    if step.contains("AUTOMATIC") {
        return Some("an index made for one statement");
    }
    if step.contains("TEMP B-TREE") {
        return Some("sorts");
    }
    // What a query inside the statement has found may be walked through.
    let scanned = step.strip_prefix("SCAN ")?.split(' ').next()?;
    let found_inside = scanned == "CONSTANT" || text.contains(&format!(") {scanned}"));
    (!found_inside).then_some("walks through a table")
}
