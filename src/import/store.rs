//! The old backend's tables, how their rows are read, and the statements that insert what becomes of them
//! (contract: people §5, messaging §5).
//!
//! A page of rows names the columns of its insert in their order; the first is the old row's id. Pages are walks along a primary key and
//! nothing more: which rows are taken is decided outside ([`super`]), since the old tables have no index by which MySQL could do it well.

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

/// A page of a table: its columns but for the last two. Those are when a row was made and last changed: the old backend keeps the time of
/// day in UTC+8, ours are epoch milliseconds.
macro_rules! page {
    ($columns:literal, $table:literal) => {
        concat!(
            "SELECT ",
            $columns,
            ", COALESCE(TIMESTAMPDIFF(MICROSECOND, '1970-01-01 08:00:00', create_time) DIV 1000, 0), \
             COALESCE(TIMESTAMPDIFF(MICROSECOND, '1970-01-01 08:00:00', update_time) DIV 1000, 0) FROM ",
            $table,
            " WHERE id > ? ORDER BY id LIMIT 500"
        )
    };
}

/// The id that the next row of a table gets.
macro_rules! next_id {
    ($table:literal) => {
        concat!(
            "SELECT CAST(COALESCE(MAX(AUTO_INCREMENT), 0) AS SIGNED) FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ",
            $table
        )
    };
}

/// People and guests. What becomes of names and devices is decided row by row (`super::people`), which adds the last column.
pub const USERS: Table = Table {
    name: "users",
    count: "SELECT COUNT(*) FROM user",
    page: page!(
        "id, username, devicefingeruuid, role, uuid, password, nickname, avatar, uniplatform, devicemodel, deviceos, devicebrand, \
         userset, invite_confirm, mobile, email, status, TIMESTAMPDIFF(MICROSECOND, '1970-01-01 08:00:00', last_login) DIV 1000, \
         last_login_ip, register_ip, is_deleted, wechat_openid, qq_openid, weibo_uid, is_email_verified, is_mobile_verified, \
         COALESCE(`order`, 50)",
        "user"
    ),
    insert: "INSERT INTO users (id, username, device_id, role, uuid, password_hash, nickname, avatar, uniplatform, devicemodel, \
             deviceos, devicebrand, userset, invite_confirm, mobile, email, status, last_login_at, last_login_ip, register_ip, is_deleted, \
             wechat_openid, qq_openid, weibo_uid, is_email_verified, is_mobile_verified, sort_order, created_at, updated_at, \
             username_key) VALUES ",
    values: "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    left_out: "two of one name",
};
/// See [`next_id`].
pub const NEXT_USER: &str = next_id!("'user'");

/// What is told of people beside their accounts.
pub const PROFILES: Table = Table {
    name: "profiles",
    count: "SELECT COUNT(*) FROM user_info",
    page: page!(
        "id, user_id, gender, TIMESTAMPDIFF(MICROSECOND, '1970-01-01 08:00:00', birthday) DIV 1000, bio, location, website",
        "user_info"
    ),
    insert: "INSERT INTO profiles (id, user_id, gender, birthday_at, bio, location, website, created_at, updated_at) VALUES ",
    values: "(?,?,?,?,?,?,?,?,?)",
    left_out: SECOND,
};

/// Sides of friendships.
pub const FRIENDS: Table = Table {
    name: "friends",
    count: "SELECT COUNT(*) FROM goodfriend",
    page: page!(
        "id, user_id, friend_id, nickname, friendlookme, melookfriend, ismystarfriend, isblack, status",
        "goodfriend"
    ),
    insert: "INSERT INTO friends (id, user_id, friend_id, remark, friendlookme, melookfriend, starred, blocked, status, \
             created_at, updated_at) VALUES ",
    values: "(?,?,?,?,?,?,?,?,?,?,?)",
    left_out: SECOND,
};

/// Who asked whom; the column before the last two is NULL unless the application waits.
pub const APPLICATIONS: Table = Table {
    name: "friend applications",
    count: "SELECT COUNT(*) FROM goodfriendapply",
    page: page!("id, user_id, friend_id, nickname, status, CASE WHEN status = 'pending' THEN 1 END", "goodfriendapply"),
    insert: "INSERT INTO friend_applications (id, user_id, friend_id, note, status, pending_mark, created_at, updated_at) VALUES ",
    values: "(?,?,?,?,?,?,?,?)",
    left_out: SECOND,
};

/// Groups.
pub const GROUPS: Table = Table {
    name: "groups",
    count: "SELECT COUNT(*) FROM `group`",
    page: page!(
        "id, uuid, user_id, name, COALESCE(avatar, 'https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/group.png'), \
         COALESCE(remark, ''), invite_confirm, status",
        "`group`"
    ),
    insert: "INSERT INTO chat_groups (id, uuid, owner_id, name, avatar, remark, invite_confirm, status, created_at, updated_at) VALUES ",
    values: "(?,?,?,?,?,?,?,?,?,?)",
    left_out: "groups whose owner is not there",
};
/// See [`next_id`].
pub const NEXT_GROUP: &str = next_id!("'group'");

/// Who is in which group.
pub const MEMBERS: Table = Table {
    name: "group members",
    count: "SELECT COUNT(*) FROM group_user",
    page: page!("id, group_id, user_id, COALESCE(nickname, ''), COALESCE(avatar, ''), status", "group_user"),
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

/// Makes sure that the next user gets a higher id than this, which nobody has: clients keep their chats with those who are gone by their ids.
pub async fn pass_user_id(conn: &mut Conn<'_>, id: i64) -> Result<()> {
    execute!(
        conn,
        "INSERT INTO users (id, uuid, username, username_key, password_hash, avatar, userset, created_at, updated_at) \
         VALUES (?, '', '', '\n', '', '', '', 0, 0)",
        id
    )?;
    execute!(conn, "DELETE FROM users WHERE id = ?", id)?;
    Ok(())
}

/// The same of groups.
pub async fn pass_group_id(conn: &mut Conn<'_>, id: i64) -> Result<()> {
    execute!(
        conn,
        "INSERT INTO chat_groups (id, uuid, owner_id, name, avatar, remark, created_at, updated_at) \
         VALUES (?, '', 0, '', '', '', 0, 0)",
        id
    )?;
    execute!(conn, "DELETE FROM chat_groups WHERE id = ?", id)?;
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

/// Stores how many applications wait for each of up to `ROWS_MAX` people, as migration 0041 does.
pub async fn insert_application_counts(conn: &mut Conn<'_>, counts: &[(i64, i64)]) -> Result<()> {
    let head = "INSERT INTO friend_application_counts (user_id, pending) VALUES ";
    execute_with!(conn, Sql::rows(head, "(?,?)", counts.len(), ""), q => {
        for (user, pending) in counts {
            q = q.bind(*user).bind(*pending);
        }
        q
    })?;
    Ok(())
}

/// Makes up to `ROWS_MAX` parts of names findable: the rows of migration 0021, whose statement is another on each engine.
pub async fn insert_username_parts(conn: &mut Conn<'_>, parts: &[(bool, &str, i64)]) -> Result<()> {
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
