//! Statements on `answers`.

use super::model::{Entry, EntryChange};
use crate::db::{Conn, execute, fetch_all, fetch_one, fetch_optional};
use crate::error::Result;
use crate::ids::{AnswerId, UserId};

/// The columns of [`Entry`].
macro_rules! entry_by {
    ($condition:literal) => {
        concat!(
            "SELECT id, kind, ask, answer, like_count, liked, created_at, updated_at FROM answers WHERE ",
            $condition
        )
    };
}

pub async fn find(conn: &mut Conn<'_>, user: UserId, id: AnswerId) -> Result<Option<Entry>> {
    fetch_optional!(conn, Entry, entry_by!("id = ? AND user_id = ?"), id, user)
}

/// The newest entries of a person (index `answers_owner`).
pub async fn list(conn: &mut Conn<'_>, user: UserId, limit: i64) -> Result<Vec<Entry>> {
    fetch_all!(conn, Entry, entry_by!("user_id = ? ORDER BY id DESC LIMIT ?"), user, limit)
}

/// The newest entries of one kind (index `answers_user`).
pub async fn list_by_kind(conn: &mut Conn<'_>, user: UserId, kind: &str, limit: i64) -> Result<Vec<Entry>> {
    fetch_all!(conn, Entry, entry_by!("user_id = ? AND kind = ? ORDER BY id DESC LIMIT ?"), user, kind, limit)
}

/// How many entries a person has (index `answers_owner`).
pub async fn count(conn: &mut Conn<'_>, user: UserId) -> Result<i64> {
    let (count,) = fetch_one!(conn, (i64,), "SELECT COUNT(*) FROM answers WHERE user_id = ?", user)?;
    Ok(count)
}

pub async fn insert(
    conn: &mut Conn<'_>,
    user: UserId,
    (kind, ask, answer): (&str, &str, &str),
    now_ms: i64,
) -> Result<AnswerId> {
    let done = execute!(
        conn,
        "INSERT INTO answers (user_id, kind, ask, answer, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)",
        user,
        kind,
        ask,
        answer,
        now_ms,
        now_ms
    )?;
    Ok(AnswerId(done.id))
}

/// Changes what `change` names of an entry, if it is `user`'s. One statement, so that two changes at once both last.
/// Returns whether it is.
pub async fn update(
    conn: &mut Conn<'_>,
    user: UserId,
    id: AnswerId,
    change: &EntryChange,
    now_ms: i64,
) -> Result<bool> {
    let done = execute!(
        conn,
        "UPDATE answers SET kind = COALESCE(?, kind), ask = COALESCE(?, ask), answer = COALESCE(?, answer), \
         updated_at = ? WHERE id = ? AND user_id = ?",
        change.kind.as_deref(),
        change.ask.as_deref(),
        change.answer.as_deref(),
        now_ms,
        id,
        user
    )?;
    Ok(done.rows == 1)
}

/// Removes an entry, if it is `user`'s. Returns whether it was.
pub async fn delete(conn: &mut Conn<'_>, user: UserId, id: AnswerId) -> Result<bool> {
    Ok(execute!(conn, "DELETE FROM answers WHERE id = ? AND user_id = ?", id, user)?.rows == 1)
}
