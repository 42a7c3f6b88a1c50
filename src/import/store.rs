//! The old backend's tables, how their rows are read, and the statements that insert what becomes of them
//! (contract: people §5, messaging §5).
//!
//! A page of rows names the columns of its insert in their order; the first is the old row's id. What the old tables allow and ours
//! do not is left out where it is read: a second row for one pair, and what belongs to somebody who is not there.

use super::answers::Entry;
use super::pending::Message;
use crate::db::sql::{Sql, bigint};
use crate::db::{Cell, Conn, execute, execute_with, fetch_optional};
use crate::error::Result;
use crate::ids::UserId;

/// An old table and the one that takes its rows.
#[derive(Debug)]
pub struct Table {
    /// What it holds, for people.
    pub name: &'static str,
    /// Says how many rows the old table has.
    pub count: &'static str,
    /// Finds a page of them.
    pub page: &'static str,
    insert: &'static str,
    values: &'static str,
    /// Why some of them may be left out.
    pub left_out: &'static str,
}

/// The old tables forbid neither.
const SECOND: &str = "second rows for one pair, and rows of people or groups that are not there";

/// A page of a table: its columns but for the last two, where they come from, and which rows. Those two are when a row was made and last
/// changed. The old backend keeps the time of day in UTC+8; ours are epoch milliseconds.
macro_rules! page {
    ($columns:literal, $from:literal, $condition:literal) => {
        concat!(
            "SELECT ",
            $columns,
            ", COALESCE(TIMESTAMPDIFF(MICROSECOND, '1970-01-01 08:00:00', o.create_time) DIV 1000, 0), \
             COALESCE(TIMESTAMPDIFF(MICROSECOND, '1970-01-01 08:00:00', o.update_time) DIV 1000, 0) FROM ",
            $from,
            " WHERE o.id > ? AND ",
            $condition,
            " ORDER BY o.id LIMIT 500"
        )
    };
}

/// People and guests. What becomes of names and devices is decided row by row (`super::people`), which adds the last column.
pub const USERS: Table = Table {
    name: "users",
    count: "SELECT COUNT(*) FROM user",
    page: page!(
        "o.id, o.username, o.devicefingeruuid, o.role, o.uuid, o.password, o.nickname, o.avatar, o.uniplatform, o.devicemodel, \
         o.deviceos, o.devicebrand, o.userset, o.invite_confirm, o.mobile, o.email, o.status, \
         TIMESTAMPDIFF(MICROSECOND, '1970-01-01 08:00:00', o.last_login) DIV 1000, o.last_login_ip, o.register_ip, o.is_deleted, \
         o.wechat_openid, o.qq_openid, o.weibo_uid, o.is_email_verified, o.is_mobile_verified, COALESCE(o.`order`, 50)",
        "user o",
        "TRUE"
    ),
    insert: "INSERT INTO users (id, username, device_id, role, uuid, password_hash, nickname, avatar, uniplatform, devicemodel, \
             deviceos, devicebrand, userset, invite_confirm, mobile, email, status, last_login_at, last_login_ip, register_ip, is_deleted, \
             wechat_openid, qq_openid, weibo_uid, is_email_verified, is_mobile_verified, sort_order, created_at, updated_at, \
             username_key) VALUES ",
    values: "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    left_out: "two of one name",
};

/// Tables of single people, pairs and groups.
pub const TABLES: [Table; 4] = [
    Table {
        name: "profiles",
        count: "SELECT COUNT(*) FROM user_info",
        page: page!(
            "o.id, o.user_id, o.gender, TIMESTAMPDIFF(MICROSECOND, '1970-01-01 08:00:00', o.birthday) DIV 1000, o.bio, o.location, \
             o.website",
            "user_info o JOIN user u ON u.id = o.user_id",
            "NOT EXISTS (SELECT 1 FROM user_info f WHERE f.user_id = o.user_id AND f.id < o.id)"
        ),
        insert: "INSERT INTO profiles (id, user_id, gender, birthday_at, bio, location, website, created_at, updated_at) VALUES ",
        values: "(?,?,?,?,?,?,?,?,?)",
        left_out: SECOND,
    },
    Table {
        name: "friends",
        count: "SELECT COUNT(*) FROM goodfriend",
        page: page!(
            "o.id, o.user_id, o.friend_id, o.nickname, o.friendlookme, o.melookfriend, o.ismystarfriend, o.isblack, o.status",
            "goodfriend o JOIN user u ON u.id = o.user_id JOIN user v ON v.id = o.friend_id",
            "NOT EXISTS (SELECT 1 FROM goodfriend f WHERE f.user_id = o.user_id AND f.friend_id = o.friend_id AND f.id < o.id)"
        ),
        insert: "INSERT INTO friends (id, user_id, friend_id, remark, friendlookme, melookfriend, starred, blocked, status, \
                 created_at, updated_at) VALUES ",
        values: "(?,?,?,?,?,?,?,?,?,?,?)",
        left_out: SECOND,
    },
    // Of several that wait for the same answer, the newest.
    Table {
        name: "friend applications",
        count: "SELECT COUNT(*) FROM goodfriendapply",
        page: page!(
            "o.id, o.user_id, o.friend_id, o.nickname, o.status, CASE WHEN o.status = 'pending' THEN 1 END",
            "goodfriendapply o JOIN user u ON u.id = o.user_id JOIN user v ON v.id = o.friend_id",
            "NOT (o.status = 'pending' AND EXISTS (SELECT 1 FROM goodfriendapply l WHERE l.user_id = o.user_id \
             AND l.friend_id = o.friend_id AND l.status = 'pending' AND l.id > o.id))"
        ),
        insert: "INSERT INTO friend_applications (id, user_id, friend_id, note, status, pending_mark, created_at, updated_at) VALUES ",
        values: "(?,?,?,?,?,?,?,?)",
        left_out: SECOND,
    },
    Table {
        name: "groups",
        count: "SELECT COUNT(*) FROM `group`",
        page: page!(
            "o.id, o.uuid, o.user_id, o.name, \
             COALESCE(o.avatar, 'https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/group.png'), COALESCE(o.remark, ''), \
             o.invite_confirm, o.status",
            "`group` o JOIN user u ON u.id = o.user_id",
            "TRUE"
        ),
        insert: "INSERT INTO chat_groups (id, uuid, owner_id, name, avatar, remark, invite_confirm, status, created_at, updated_at) VALUES ",
        values: "(?,?,?,?,?,?,?,?,?,?)",
        left_out: "groups whose owner is not there",
    },
];

/// Who is in which group.
pub const MEMBERS: Table = Table {
    name: "group members",
    count: "SELECT COUNT(*) FROM group_user",
    page: page!(
        "o.id, o.group_id, o.user_id, COALESCE(o.nickname, ''), COALESCE(o.avatar, ''), o.status",
        "group_user o JOIN `group` g ON g.id = o.group_id JOIN user w ON w.id = g.user_id JOIN user u ON u.id = o.user_id",
        "NOT EXISTS (SELECT 1 FROM group_user f WHERE f.group_id = o.group_id AND f.user_id = o.user_id AND f.id < o.id)"
    ),
    insert: "INSERT INTO group_members (id, group_id, user_id, nickname, avatar, status, created_at, updated_at) VALUES ",
    values: "(?,?,?,?,?,?,?,?)",
    left_out: SECOND,
};

/// Whether there is anybody.
pub async fn has_users(conn: &mut Conn<'_>) -> Result<bool> {
    Ok(fetch_optional!(conn, (UserId,), "SELECT id FROM users LIMIT 1")?.is_some())
}

/// Inserts up to `ROWS_MAX` rows of a page.
pub async fn insert_rows(conn: &mut Conn<'_>, table: &Table, rows: &[Vec<Cell>]) -> Result<()> {
    let sql = Sql::rows(table.insert, table.values, rows.len(), "");
    execute_with!(conn, sql, q => {
        for cell in rows.iter().flatten() {
            q = match cell {
                Cell::Null => q.bind(None::<i64>),
                Cell::Int(number) => q.bind(*number),
                Cell::Text(text) => q.bind(text.as_str()),
            };
        }
        q
    })?;
    Ok(())
}

/// Opens a subscription for each member between two ids: nothing was said yet, and who waits for the owner's approval hears nothing until then.
pub async fn insert_subscriptions(conn: &mut Conn<'_>, after: i64, up_to: i64) -> Result<()> {
    execute!(
        conn,
        "INSERT INTO subscriptions (group_id, user_id, delivered_seq, active_from_seq) \
         SELECT group_id, user_id, 0, CASE WHEN status = 2 THEN 9223372036854775807 ELSE 0 END \
         FROM group_members WHERE id > ? AND id <= ?",
        after,
        up_to
    )?;
    Ok(())
}

/// Counts the applications that wait, as migration 0041 does.
pub async fn insert_application_counts(conn: &mut Conn<'_>) -> Result<()> {
    execute!(
        conn,
        "INSERT INTO friend_application_counts (user_id, pending) \
         SELECT friend_id, COUNT(*) FROM friend_applications WHERE pending_mark = 1 GROUP BY friend_id"
    )?;
    Ok(())
}

/// Makes up to `ROWS_MAX` parts of names findable.
pub async fn insert_username_parts(conn: &mut Conn<'_>, parts: &[(bool, String, i64)]) -> Result<()> {
    let sql = Sql::rows("INSERT INTO username_parts (whole, part, user_id) VALUES ", "(?,?,?)", parts.len(), "");
    execute_with!(conn, sql, q => {
        for (whole, part, user) in parts {
            q = q.bind(i64::from(*whole)).bind(part.as_bytes()).bind(*user);
        }
        q
    })?;
    Ok(())
}

/// Inserts up to `ROWS_MAX` prepared answers.
pub async fn insert_answers(conn: &mut Conn<'_>, entries: &[Entry]) -> Result<()> {
    let sql = Sql::rows(
        "INSERT INTO answers (user_id, kind, ask, answer, like_count, liked, created_at, updated_at) VALUES ",
        "(?,?,?,?,?,?,?,?)",
        entries.len(),
        "",
    );
    execute_with!(conn, sql, q => {
        for entry in entries {
            q = q
                .bind(entry.user)
                .bind(entry.kind.as_str())
                .bind(entry.ask.as_str())
                .bind(entry.answer.as_str())
                .bind(entry.like_count)
                .bind(i64::from(entry.liked))
                .bind(entry.created_at)
                .bind(entry.updated_at);
        }
        q
    })?;
    Ok(())
}

/// Inserts up to `ROWS_MAX` messages that wait for one person each. They have no uuid: the time in which one may be revoked is over.
pub async fn insert_messages(conn: &mut Conn<'_>, messages: &[&Message]) -> Result<()> {
    let sql = Sql::rows(
        "INSERT INTO messages (sender_id, recipient_id, created_at, size, body) VALUES ",
        "(?,?,?,?,?)",
        messages.len(),
        "",
    );
    execute_with!(conn, sql, q => {
        for message in messages {
            q = q
                .bind(message.sender)
                .bind(message.recipient)
                .bind(message.created_at)
                .bind(bigint(message.body.len()))
                .bind(message.body.as_str());
        }
        q
    })?;
    Ok(())
}
