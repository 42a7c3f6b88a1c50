//! Statements on `friends`.

use super::model::Friend;
use crate::db::sql::Sql;
use crate::db::{Conn, fetch_all_with, fetch_optional};
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
    fetch_all_with!(conn, (UserId,), sql.clone(), q => {
        q = q.bind(user);
        for id in ids {
            q = q.bind(*id);
        }
        q
    })
}
