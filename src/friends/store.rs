//! Statements on `friends`.

use super::model::{Friend, Listed};
use crate::db::sql::Sql;
use crate::db::{Conn, dialect, execute, fetch_all_with, fetch_one, fetch_optional, packed};
use crate::error::Result;
use crate::ids::{FriendshipId, UserId};

/// The columns of [`Friend`].
macro_rules! friend_by {
    ($condition:literal) => {
        concat!(
            "SELECT id, user_id, friend_id, remark, friendlookme, melookfriend, starred, blocked, status FROM friends WHERE ",
            $condition
        )
    };
}

pub async fn find(conn: &mut Conn<'_>, user: UserId, friend: UserId) -> Result<Option<Friend>> {
    fetch_optional!(conn, Friend, friend_by!("user_id = ? AND friend_id = ?"), user, friend)
}

pub async fn exists_any(conn: &mut Conn<'_>, user: UserId) -> Result<bool> {
    let row = fetch_optional!(
        conn,
        (FriendshipId,),
        "SELECT id FROM friends WHERE user_id = ? AND blocked = 0 AND status = 1 LIMIT 1",
        user
    )?;
    Ok(row.is_some())
}

/// Those of up to `ROWS_MAX` rows that are the user's own and neither blocked nor disabled: who is in them.
pub async fn list_reachable(conn: &mut Conn<'_>, user: UserId, ids: &[FriendshipId]) -> Result<Vec<(UserId,)>> {
    let sql = Sql::rows(
        "SELECT friend_id FROM friends WHERE user_id = ? AND status = 1 AND blocked = 0 AND id IN (",
        "?",
        ids.len(),
        ")",
    );
    fetch_all_with!(conn, (UserId,), sql, q => {
        q = q.bind(user);
        for id in ids {
            q = q.bind(*id);
        }
        q
    })
}

/// How many of the two rows of a pair there are.
pub async fn count_pair(conn: &mut Conn<'_>, one: UserId, other: UserId) -> Result<i64> {
    let (count,) = fetch_one!(
        conn,
        (i64,),
        "SELECT COUNT(*) FROM friends WHERE (user_id = ? AND friend_id = ?) OR (user_id = ? AND friend_id = ?)",
        one,
        other,
        other,
        one
    )?;
    Ok(count)
}

/// A part of somebody's list, in no order, of the rows that are oldest after `offset` others (index `friends_list`). Packed,
/// because a list is long and its rows are short.
pub async fn list_part(conn: &mut Conn<'_>, user: UserId, limit: i64, offset: i64) -> Result<Vec<Listed>> {
    let sql = Sql::packed(
        conn.engine(),
        &["id", "friend_id", "remark", "uuid", "username", "nickname", "avatar"],
        "SELECT f.id, f.friend_id, f.remark, u.uuid, u.username, u.nickname, u.avatar \
         FROM friends f CROSS JOIN users u ON u.id = f.friend_id WHERE f.user_id = ? ORDER BY f.id LIMIT ? OFFSET ?",
    );
    let (packed,) = fetch_one!(conn, (Option<String>,), sql, user, limit, offset)?;
    packed::rows(packed.as_deref(), |columns| {
        Some(Listed {
            id: FriendshipId(columns.int()?),
            friend_id: UserId(columns.int()?),
            remark: columns.text()?.to_owned(),
            uuid: columns.text()?.to_owned(),
            username: columns.text()?.to_owned(),
            nickname: columns.text()?.to_owned(),
            avatar: columns.text()?.to_owned(),
        })
    })
}

/// Adds `friend` to the list of `user`, unless it is there already.
pub async fn insert_absent(conn: &mut Conn<'_>, user: UserId, friend: UserId, remark: &str, now_ms: i64) -> Result<()> {
    let tail = dialect::on_conflict_ignore(conn.engine(), "user_id, friend_id");
    let sql = Sql::rows(
        "INSERT INTO friends (user_id, friend_id, remark, created_at, updated_at) VALUES ",
        "(?,?,?,?,?)",
        1,
        &tail,
    );
    execute!(conn, sql, user, friend, remark, now_ms, now_ms)?;
    Ok(())
}

/// Turns the blacklist mark around, in one statement so that two requests are two turns. Returns whether the row exists.
pub async fn update_blocked(conn: &mut Conn<'_>, user: UserId, friend: UserId, now_ms: i64) -> Result<bool> {
    let done = execute!(
        conn,
        "UPDATE friends SET blocked = CASE WHEN blocked = 0 THEN 1 ELSE 0 END, updated_at = ? \
         WHERE user_id = ? AND friend_id = ?",
        now_ms,
        user,
        friend
    )?;
    Ok(done.rows == 1)
}

/// Turns the star around. Returns whether the row exists and is not blocked.
pub async fn update_starred(conn: &mut Conn<'_>, user: UserId, friend: UserId, now_ms: i64) -> Result<bool> {
    let done = execute!(
        conn,
        "UPDATE friends SET starred = CASE WHEN starred = 0 THEN 1 ELSE 0 END, updated_at = ? \
         WHERE user_id = ? AND friend_id = ? AND blocked = 0",
        now_ms,
        user,
        friend
    )?;
    Ok(done.rows == 1)
}

/// Sets who sees whose posts. Returns whether the row exists and is not blocked.
pub async fn update_visibility(
    conn: &mut Conn<'_>,
    (user, friend): (UserId, UserId),
    friendlookme: i64,
    melookfriend: i64,
    now_ms: i64,
) -> Result<bool> {
    let done = execute!(
        conn,
        "UPDATE friends SET friendlookme = ?, melookfriend = ?, updated_at = ? \
         WHERE user_id = ? AND friend_id = ? AND blocked = 0",
        friendlookme,
        melookfriend,
        now_ms,
        user,
        friend
    )?;
    Ok(done.rows == 1)
}

/// Removes `user`'s row of `friend`, and that of the other side if it does not block.
pub async fn delete_with_other(conn: &mut Conn<'_>, user: UserId, friend: UserId) -> Result<()> {
    execute!(
        conn,
        "DELETE FROM friends WHERE (user_id = ? AND friend_id = ?) \
         OR (user_id = ? AND friend_id = ? AND blocked = 0 AND status = 1)",
        user,
        friend,
        friend,
        user
    )?;
    Ok(())
}
