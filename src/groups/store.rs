//! Statements on `chat_groups`, `group_members` and `subscriptions`.

use super::model::{Group, Member};
use crate::db::{Conn, execute, fetch_all, fetch_one, fetch_optional};
use crate::error::Result;
use crate::ids::{GroupId, UserId};

/// Most members of a group that are loaded: a bound on memory, far above what a client can show.
const MEMBERS_MAX: i64 = 100_000;

pub async fn find_group(conn: &mut Conn<'_>, id: GroupId) -> Result<Option<Group>> {
    fetch_optional!(
        conn,
        Group,
        "SELECT id, uuid, owner_id, name, avatar, remark, invite_confirm, status, version, created_at, updated_at \
         FROM chat_groups WHERE id = ?",
        id
    )
}

pub async fn list_members(conn: &mut Conn<'_>, id: GroupId) -> Result<Vec<Member>> {
    fetch_all!(
        conn,
        Member,
        "SELECT m.id, m.user_id, m.nickname, m.avatar, m.status, m.created_at, s.id AS subscription \
         FROM group_members m \
         JOIN subscriptions s ON s.group_id = m.group_id AND s.user_id = m.user_id AND s.open_mark = 1 \
         WHERE m.group_id = ? ORDER BY m.id LIMIT ?",
        id,
        MEMBERS_MAX
    )
}

/// Reserves `count` message numbers. Locks the group until the end of the transaction. Returns whether it exists.
pub async fn update_last_seq(conn: &mut Conn<'_>, id: GroupId, count: i64) -> Result<bool> {
    Ok(execute!(conn, "UPDATE chat_groups SET last_seq = last_seq + ? WHERE id = ?", count, id)?.rows == 1)
}

/// `last_seq`, `version` and `status`.
pub async fn find_counters(conn: &mut Conn<'_>, id: GroupId) -> Result<(i64, i64, i64)> {
    fetch_one!(conn, (i64, i64, i64), "SELECT last_seq, version, status FROM chat_groups WHERE id = ?", id)
}

pub async fn exists_any(conn: &mut Conn<'_>, user: UserId) -> Result<bool> {
    let row = fetch_optional!(
        conn,
        (GroupId,),
        "SELECT g.id FROM group_members m JOIN chat_groups g ON g.id = m.group_id AND g.status = 1 \
         WHERE m.user_id = ? AND m.status = 1 LIMIT 1",
        user
    )?;
    Ok(row.is_some())
}
