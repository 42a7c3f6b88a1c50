//! SQL whose length depends on a list: rows of an insert, members of an `IN`. Built from literals only.

use sqlx::SqlSafeStr;
use sqlx::SqlStr;

/// Most rows or list members in one statement: enough to share its cost, few enough to keep the statement cache small
/// (each length is one prepared statement).
pub const ROWS_MAX: usize = 64;
const _: () = assert!(ROWS_MAX <= 100, "MySQL and SQLite both bound the values of one statement");

/// A length or a limit as a value to bind.
pub fn bigint(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A statement built from literals; values are always bound.
#[derive(Clone, Debug)]
pub struct Sql(String);

impl Sql {
    /// `head`, then words of the dialect, then `tail`.
    pub fn around(head: &'static str, words: &str, tail: &'static str) -> Self {
        Self([head, words, tail].concat())
    }

    /// A text that this kit has made of literals.
    pub(super) const fn of_text(text: String) -> Self {
        Self(text)
    }

    /// `head` followed by `count` times `row`, comma-separated, and `tail`: `INSERT … VALUES (?,?),(?,?)`.
    pub fn rows(head: &'static str, row: &'static str, count: usize, tail: &str) -> Self {
        Self(head.to_owned()).then(row, count, ",", tail)
    }

    /// With one list more: `count` times `part`, with `between` between two of them, and `tail`.
    #[must_use]
    pub fn then(mut self, part: &'static str, count: usize, between: &'static str, tail: &str) -> Self {
        let text = &mut self.0;
        text.reserve((part.len() + between.len()) * count + tail.len());
        for i in 0..count {
            if i > 0 {
                text.push_str(between);
            }
            text.push_str(part);
        }
        text.push_str(tail);
        self
    }

    /// `count` times the same query, one after the other in one result.
    pub fn union(query: &Self, count: usize) -> Self {
        Self(vec![query.0.as_str(); count].join(" UNION ALL "))
    }
}

impl SqlSafeStr for Sql {
    // The one place that asserts it: the text is made of literals.
    fn into_sql_str(self) -> SqlStr {
        sqlx::AssertSqlSafe(self.0).into_sql_str()
    }
}
