//! Statements on `chat_groups`, `group_members` and `subscriptions`.

use super::model::{AVATARS_MAX, Counters, Group, Joined, MEMBER_ACTIVE, Member, Participant};
use super::service::Reserved;
use crate::db::sql::{Sql, bigint};
use crate::db::{Conn, dialect, execute, execute_with, fetch_all, fetch_all_with, fetch_optional};
use crate::error::Result;
use crate::ids::{GroupId, MemberId, SubscriptionId, UserId};

/// Most members of a group that are loaded: a bound on memory, far above what a client can show.
const MEMBERS_MAX: i64 = 100_000;

/// The columns of [`Member`]. CROSS JOIN has SQLite read the members first, and not the subscriptions of all who ever came.
macro_rules! member_where {
    ($condition:literal) => {
        concat!(
            "SELECT m.id, m.user_id, m.nickname, m.avatar, m.status, m.created_at, s.id AS subscription \
             FROM group_members m \
             CROSS JOIN subscriptions s ON s.group_id = m.group_id AND s.user_id = m.user_id AND s.open_mark = 1 WHERE ",
            $condition
        )
    };
}

pub async fn insert_group(conn: &mut Conn<'_>, group: &Group) -> Result<GroupId> {
    let done = execute!(
        conn,
        "INSERT INTO chat_groups (uuid, owner_id, name, avatar, remark, created_at, updated_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
        &group.uuid,
        group.owner_id,
        &group.name,
        &group.avatar,
        &group.remark,
        group.created_at,
        group.updated_at,
    )?;
    Ok(GroupId(done.id))
}

pub async fn find_group(conn: &mut Conn<'_>, id: GroupId) -> Result<Option<Group>> {
    fetch_optional!(
        conn,
        Group,
        "SELECT id, uuid, owner_id, name, avatar, remark, invite_confirm, status, version, created_at, updated_at \
         FROM chat_groups WHERE id = ?",
        id
    )
}

/// Marks the group as changed. Locks it until the end of the transaction. Returns whether it exists.
pub async fn update_version(conn: &mut Conn<'_>, id: GroupId) -> Result<bool> {
    Ok(execute!(conn, "UPDATE chat_groups SET version = version + 1 WHERE id = ?", id)?.rows == 1)
}

/// Stores everything that may change of a group, except its counters.
pub async fn update_group(conn: &mut Conn<'_>, group: &Group) -> Result<()> {
    execute!(
        conn,
        "UPDATE chat_groups SET name = ?, avatar = ?, remark = ?, invite_confirm = ?, status = ?, updated_at = ? \
         WHERE id = ?",
        &group.name,
        &group.avatar,
        &group.remark,
        group.invite_confirm,
        group.status,
        group.updated_at,
        group.id,
    )?;
    Ok(())
}

/// Reserves message numbers, so many in each of up to [`ROWS_MAX`] groups. Locks those that exist until the end of the
/// transaction, in the order of their ids.
pub async fn update_last_seqs(conn: &mut Conn<'_>, counts: &[(GroupId, i64)]) -> Result<()> {
    let sql = Sql::around("UPDATE chat_groups SET last_seq = last_seq + CASE id", "", "")
        .then(" WHEN ? THEN ?", counts.len(), "", " END WHERE id IN (")
        .then("?", counts.len(), ",", ")");
    execute_with!(conn, sql, q => {
        for (id, count) in counts {
            q = q.bind(*id).bind(*count);
        }
        for (id, _) in counts {
            q = q.bind(*id);
        }
        q
    })?;
    Ok(())
}

/// The same, for groups that are open and stand as expected: at this version, with the number before the first as their
/// newest. Returns how many do.
pub async fn update_last_seqs_expected(conn: &mut Conn<'_>, expected: &[Reserved]) -> Result<u64> {
    let sql = Sql::around("UPDATE chat_groups SET last_seq = CASE id", "", "")
        .then(" WHEN ? THEN ?", expected.len(), "", " END WHERE status = 1 AND (")
        .then("id = ? AND version = ? AND last_seq = ?", expected.len(), " OR ", ")");
    let done = execute_with!(conn, sql, q => {
        for reserved in expected {
            q = q.bind(reserved.group).bind(reserved.last_seq);
        }
        for reserved in expected {
            q = q.bind(reserved.group).bind(reserved.version).bind(reserved.first_seq - 1);
        }
        q
    })?;
    Ok(done.rows)
}

/// The counters of up to [`ROWS_MAX`] groups.
pub async fn list_counters(conn: &mut Conn<'_>, groups: &[(GroupId, i64)]) -> Result<Vec<Counters>> {
    let sql = Sql::rows("SELECT id, last_seq, version, status FROM chat_groups WHERE id IN (", "?", groups.len(), ")");
    fetch_all_with!(conn, Counters, sql, q => {
        for (id, _) in groups {
            q = q.bind(*id);
        }
        q
    })
}

/// Whether the person is an active member of an open group (index `group_members_user`).
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

/// The open groups in which the person is active, newest first (index `group_members_user`).
pub async fn list_joined(conn: &mut Conn<'_>, user: UserId, limit: i64, offset: i64) -> Result<Vec<Joined>> {
    fetch_all!(
        conn,
        Joined,
        "SELECT g.id, g.uuid, g.owner_id, g.name, g.avatar, g.remark, g.invite_confirm, g.status, g.version, \
         g.created_at, g.updated_at, m.nickname AS my_nickname, m.avatar AS my_avatar \
         FROM group_members m JOIN chat_groups g ON g.id = m.group_id AND g.status = 1 \
         WHERE m.user_id = ? AND m.status = 1 ORDER BY m.group_id DESC LIMIT ? OFFSET ?",
        user,
        limit,
        offset
    )
}

/// Everyone in the group with an open subscription, in the order in which they came (index `group_members_pair`). Sorted here:
/// MySQL would rather walk through the members of all groups in that order.
pub async fn list_members(conn: &mut Conn<'_>, id: GroupId) -> Result<Vec<Member>> {
    let mut members = fetch_all!(conn, Member, member_where!("m.group_id = ? LIMIT ?"), id, MEMBERS_MAX)?;
    members.sort_unstable_by_key(|member| member.id);
    Ok(members)
}

/// Somebody's place in the group.
pub async fn find_member(conn: &mut Conn<'_>, group: GroupId, user: UserId) -> Result<Option<Member>> {
    fetch_optional!(conn, Member, member_where!("m.group_id = ? AND m.user_id = ?"), group, user)
}

/// The active members with their accounts, in the order in which they came (index `group_members_list`).
pub async fn list_participants(conn: &mut Conn<'_>, id: GroupId) -> Result<Vec<Participant>> {
    fetch_all!(
        conn,
        Participant,
        "SELECT m.id, m.created_at, m.nickname, m.avatar, u.id AS user_id, u.uuid, u.username, \
         u.nickname AS user_nickname, u.avatar AS user_avatar, u.role \
         FROM group_members m JOIN users u ON u.id = m.user_id \
         WHERE m.group_id = ? AND m.status = 1 ORDER BY m.id LIMIT ?",
        id,
        MEMBERS_MAX
    )
}

/// The pictures that make up the group's: of each of the first active members, the one in the group and the own one (index
/// `group_members_list`). Only ids are read before the first are known, so that MySQL takes the index.
pub async fn list_avatars(conn: &mut Conn<'_>, id: GroupId) -> Result<Vec<(String, String)>> {
    fetch_all!(
        conn,
        (String, String),
        "SELECT m.avatar, u.avatar FROM (SELECT id FROM group_members \
         WHERE group_id = ? AND status = 1 ORDER BY id LIMIT ?) first \
         CROSS JOIN group_members m ON m.id = first.id CROSS JOIN users u ON u.id = m.user_id ORDER BY m.id",
        id,
        bigint(AVATARS_MAX)
    )
}

/// Inserts up to [`ROWS_MAX`] active members.
pub async fn insert_members(conn: &mut Conn<'_>, group: GroupId, users: &[UserId], now_ms: i64) -> Result<()> {
    let sql = Sql::rows(
        "INSERT INTO group_members (group_id, user_id, status, created_at, updated_at) VALUES ",
        "(?,?,?,?,?)",
        users.len(),
        "",
    );
    execute_with!(conn, sql, q => {
        for user in users {
            q = q.bind(group).bind(*user).bind(MEMBER_ACTIVE).bind(now_ms).bind(now_ms);
        }
        q
    })?;
    Ok(())
}

/// Opens subscriptions from the first message on for up to [`ROWS_MAX`] people.
pub async fn insert_subscriptions(conn: &mut Conn<'_>, group: GroupId, users: &[UserId]) -> Result<()> {
    let sql = Sql::rows(
        "INSERT INTO subscriptions (group_id, user_id, delivered_seq, active_from_seq) VALUES ",
        "(?,?,0,0)",
        users.len(),
        "",
    );
    execute_with!(conn, sql, q => {
        for user in users {
            q = q.bind(group).bind(*user);
        }
        q
    })?;
    Ok(())
}

pub async fn insert_member(conn: &mut Conn<'_>, group: GroupId, member: &Member) -> Result<MemberId> {
    let done = execute!(
        conn,
        "INSERT INTO group_members (group_id, user_id, nickname, avatar, status, created_at, updated_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
        group,
        member.user_id,
        &member.nickname,
        &member.avatar,
        member.status,
        member.created_at,
        member.created_at,
    )?;
    Ok(MemberId(done.id))
}

/// Opens a subscription that begins after the group's newest message; `active_from_seq` says from where on chat is heard.
pub async fn insert_subscription(
    conn: &mut Conn<'_>,
    group: GroupId,
    user: UserId,
    active: bool,
) -> Result<SubscriptionId> {
    let never = i64::MAX;
    let done = execute!(
        conn,
        "INSERT INTO subscriptions (group_id, user_id, delivered_seq, active_from_seq) \
         SELECT id, ?, last_seq, CASE WHEN ? = 1 THEN last_seq ELSE ? END FROM chat_groups WHERE id = ?",
        user,
        i64::from(active),
        never,
        group,
    )?;
    Ok(SubscriptionId(done.id))
}

/// Stores a member's standing and name.
pub async fn update_member(conn: &mut Conn<'_>, member: &Member, now_ms: i64) -> Result<()> {
    execute!(
        conn,
        "UPDATE group_members SET nickname = ?, status = ?, updated_at = ? WHERE id = ?",
        &member.nickname,
        member.status,
        now_ms,
        member.id,
    )?;
    Ok(())
}

/// From the group's next message on, the subscription hears chat too.
pub async fn update_subscription_active(conn: &mut Conn<'_>, group: GroupId, id: SubscriptionId) -> Result<()> {
    execute!(
        conn,
        "UPDATE subscriptions SET active_from_seq = (SELECT last_seq FROM chat_groups WHERE id = ?) WHERE id = ?",
        group,
        id,
    )?;
    Ok(())
}

pub async fn delete_member(conn: &mut Conn<'_>, id: MemberId) -> Result<()> {
    execute!(conn, "DELETE FROM group_members WHERE id = ?", id)?;
    Ok(())
}

pub async fn delete_members(conn: &mut Conn<'_>, group: GroupId) -> Result<()> {
    execute!(conn, "DELETE FROM group_members WHERE group_id = ?", group)?;
    Ok(())
}

/// Ends a subscription after the group's newest message: what is pending up to there still arrives.
pub async fn update_subscription_closed(conn: &mut Conn<'_>, group: GroupId, id: SubscriptionId) -> Result<()> {
    execute!(
        conn,
        "UPDATE subscriptions SET until_seq = (SELECT last_seq FROM chat_groups WHERE id = ?), open_mark = NULL \
         WHERE id = ?",
        group,
        id,
    )?;
    Ok(())
}

/// Ends every subscription of the group after its newest message, however many there are (index `subscriptions_open`).
pub async fn update_subscriptions_closed(conn: &mut Conn<'_>, group: GroupId) -> Result<()> {
    execute!(
        conn,
        "UPDATE subscriptions SET until_seq = (SELECT last_seq FROM chat_groups WHERE id = ?), open_mark = NULL \
         WHERE group_id = ? AND open_mark = 1",
        group,
        group,
    )?;
    Ok(())
}

/// Forgets the person's ended subscriptions in the group of which nothing is pending (index `subscriptions_open`): those who come
/// and go would otherwise leave rows behind that each of their connects looks at.
pub async fn delete_spent_subscriptions(conn: &mut Conn<'_>, group: GroupId, user: UserId) -> Result<()> {
    execute!(
        conn,
        "DELETE FROM subscriptions WHERE user_id = ? AND group_id = ? AND open_mark IS NULL \
         AND delivered_seq >= until_seq",
        user,
        group,
    )?;
    Ok(())
}

/// Up to `limit` ended subscriptions after one of them, each with whether something may be pending in it: it has not come to its
/// end, and the group's oldest message is from before that (index `subscriptions_ended`). For those between its cursor and its
/// end, MySQL would walk through the group's whole history.
pub async fn list_ended_subscriptions(
    conn: &mut Conn<'_>,
    after: SubscriptionId,
    limit: usize,
) -> Result<Vec<(SubscriptionId, i64)>> {
    let sql = Sql::around(
        "SELECT s.id, CASE WHEN s.delivered_seq >= s.until_seq THEN 0 WHEN (SELECT m.seq FROM messages m",
        &dialect::by_index(conn.engine(), "messages_group"),
        " WHERE m.group_id = s.group_id ORDER BY m.group_id, m.seq LIMIT 1) <= s.until_seq THEN 1 ELSE 0 END AS needed \
         FROM subscriptions s WHERE s.open_mark IS NULL AND s.id > ? ORDER BY s.id LIMIT ?",
    );
    fetch_all!(conn, (SubscriptionId, i64), sql, after, bigint(limit))
}

/// Forgets up to [`ROWS_MAX`] subscriptions. Returns how many there were.
pub async fn delete_subscriptions(conn: &mut Conn<'_>, ids: &[SubscriptionId]) -> Result<u64> {
    let sql = Sql::rows("DELETE FROM subscriptions WHERE id IN (", "?", ids.len(), ")");
    let done = execute_with!(conn, sql, q => {
        for id in ids {
            q = q.bind(*id);
        }
        q
    })?;
    Ok(done.rows)
}
