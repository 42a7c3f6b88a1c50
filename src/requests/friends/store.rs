//! Statements on `friend_applications` and `friend_application_counts`.

use super::model::{Application, Listed, Status};
use crate::db::sql::Sql;
use crate::db::{Conn, dialect, execute, fetch_all, fetch_optional};
use crate::error::Result;
use crate::ids::{ApplicationId, UserId};

/// The columns of [`Application`].
macro_rules! application_by {
    ($condition:literal) => {
        concat!("SELECT id, user_id, friend_id, note, status FROM friend_applications WHERE ", $condition)
    };
}

/// What `user` asks of `friend` and has no answer to (index `friend_applications_pending`).
pub async fn find_pending(conn: &mut Conn<'_>, user: UserId, friend: UserId) -> Result<Option<Application>> {
    fetch_optional!(
        conn,
        Application,
        application_by!("user_id = ? AND friend_id = ? AND pending_mark = 1"),
        user,
        friend
    )
}

/// The application `id`, if it is to `target` and has no answer.
pub async fn find_open(conn: &mut Conn<'_>, id: ApplicationId, target: UserId) -> Result<Option<Application>> {
    fetch_optional!(conn, Application, application_by!("id = ? AND friend_id = ? AND pending_mark = 1"), id, target)
}

/// Whether `friend` ever agreed to `user` (index `friend_applications_status`).
pub async fn agreed_exists(conn: &mut Conn<'_>, user: UserId, friend: UserId) -> Result<bool> {
    let row = fetch_optional!(
        conn,
        (ApplicationId,),
        "SELECT id FROM friend_applications WHERE user_id = ? AND friend_id = ? AND status = 'agree' LIMIT 1",
        user,
        friend
    )?;
    Ok(row.is_some())
}

/// Inserts an application; a second pending one of a pair is a unique violation.
pub async fn insert(
    conn: &mut Conn<'_>,
    (user, friend): (UserId, UserId),
    note: &str,
    status: Status,
    now_ms: i64,
) -> Result<()> {
    execute!(
        conn,
        "INSERT INTO friend_applications (user_id, friend_id, note, status, pending_mark, created_at, updated_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
        user,
        friend,
        note,
        status.as_str(),
        (status == Status::Pending).then_some(1_i64),
        now_ms,
        now_ms
    )?;
    Ok(())
}

/// Answers the application `id`. Returns whether it was still without an answer: of answers that race one is taken.
pub async fn update_settled(conn: &mut Conn<'_>, id: ApplicationId, status: Status, now_ms: i64) -> Result<bool> {
    let done = execute!(
        conn,
        "UPDATE friend_applications SET status = ?, pending_mark = NULL, updated_at = ? \
         WHERE id = ? AND pending_mark = 1",
        status.as_str(),
        now_ms,
        id
    )?;
    Ok(done.rows == 1)
}

/// A page of what others ask of `target`, newest first. Only the rows of the page are read whole (index
/// `friend_applications_target`).
pub async fn list_page(conn: &mut Conn<'_>, target: UserId, limit: i64, offset: i64) -> Result<Vec<Listed>> {
    fetch_all!(
        conn,
        Listed,
        "SELECT a.id, a.user_id, a.friend_id, a.note, a.status, a.created_at, a.updated_at, \
         u.username, u.avatar, u.nickname, u.uuid \
         FROM (SELECT id FROM friend_applications WHERE friend_id = ? ORDER BY id DESC LIMIT ? OFFSET ?) page \
         CROSS JOIN friend_applications a ON a.id = page.id CROSS JOIN users u ON u.id = a.user_id ORDER BY a.id DESC",
        target,
        limit,
        offset
    )
}

/// How many applications to `target` have no answer.
pub async fn find_pending_count(conn: &mut Conn<'_>, target: UserId) -> Result<i64> {
    let row = fetch_optional!(conn, (i64,), "SELECT pending FROM friend_application_counts WHERE user_id = ?", target)?;
    Ok(row.map_or(0, |(pending,)| pending))
}

/// Counts `change` more applications to `target` that have no answer.
pub async fn upsert_pending_count(conn: &mut Conn<'_>, target: UserId, change: i64) -> Result<()> {
    let sql = Sql::around(
        "INSERT INTO friend_application_counts (user_id, pending) VALUES (?, ?)",
        &dialect::on_conflict_add(conn.engine(), "user_id", "pending"),
        "",
    );
    execute!(conn, sql, target, change)?;
    Ok(())
}

/// Removes what `user` asks of `friend` if it has no answer. Returns whether there was such an application.
pub async fn delete_pending(conn: &mut Conn<'_>, user: UserId, friend: UserId) -> Result<bool> {
    let done = execute!(
        conn,
        "DELETE FROM friend_applications WHERE user_id = ? AND friend_id = ? AND pending_mark = 1",
        user,
        friend
    )?;
    Ok(done.rows == 1)
}

/// Removes every application between two people, in both directions.
pub async fn delete_pair(conn: &mut Conn<'_>, one: UserId, other: UserId) -> Result<()> {
    execute!(
        conn,
        "DELETE FROM friend_applications \
         WHERE (user_id = ? AND friend_id = ?) OR (user_id = ? AND friend_id = ?)",
        one,
        other,
        other,
        one
    )?;
    Ok(())
}
