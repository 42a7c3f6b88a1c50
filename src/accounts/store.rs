//! Statements on `users`, `profiles` and `sessions`.

use super::model::{
    AccountRow, DeviceStats, Found, NewUser, Profile, Role, SessionRow, User, username_key, username_parts,
};
use crate::db::sql::{ROWS_MAX, Sql, bigint};
use crate::db::{Conn, dialect, execute, execute_with, fetch_all, fetch_all_with, fetch_one, fetch_optional, packed};
use crate::error::Result;
use crate::ids::UserId;

/// The columns of [`AccountRow`].
macro_rules! account_by {
    ($condition:literal) => {
        concat!(
            "SELECT id, uuid, username, password_hash, nickname, avatar, device_id, uniplatform, devicemodel, deviceos, \
             devicebrand, userset, invite_confirm, mobile, email, status, last_login_at, last_login_ip, register_ip, \
             is_deleted, wechat_openid, qq_openid, weibo_uid, role, is_email_verified, is_mobile_verified, sort_order, \
             created_at, updated_at FROM users WHERE ",
            $condition
        )
    };
}

/// The columns of [`User`].
macro_rules! user_by {
    ($condition:literal) => {
        concat!(
            "SELECT id, uuid, username, nickname, avatar, role, status, userset, invite_confirm FROM users WHERE ",
            $condition
        )
    };
}

pub async fn find_account(conn: &mut Conn<'_>, id: UserId) -> Result<Option<AccountRow>> {
    fetch_optional!(conn, AccountRow, account_by!("id = ?"), id)
}

pub async fn find_account_by_username(conn: &mut Conn<'_>, key: &str) -> Result<Option<AccountRow>> {
    fetch_optional!(conn, AccountRow, account_by!("username_key = ?"), key)
}

pub async fn find_account_by_device(conn: &mut Conn<'_>, device_id: &str) -> Result<Option<AccountRow>> {
    fetch_optional!(conn, AccountRow, account_by!("device_id = ?"), device_id)
}

pub async fn find_user(conn: &mut Conn<'_>, id: UserId) -> Result<Option<User>> {
    fetch_optional!(conn, User, user_by!("id = ?"), id)
}

/// Up to `ROWS_MAX` users, in the order of their ids.
pub async fn list_users(conn: &mut Conn<'_>, ids: &[UserId]) -> Result<Vec<User>> {
    let sql = Sql::rows(user_by!("id IN ("), "?", ids.len(), ") ORDER BY id");
    fetch_all_with!(conn, User, sql, q => {
        for id in ids {
            q = q.bind(*id);
        }
        q
    })
}

pub async fn find_user_by_uuid(conn: &mut Conn<'_>, uuid: &str) -> Result<Option<User>> {
    fetch_optional!(conn, User, user_by!("uuid = ?"), uuid)
}

pub async fn find_profile(conn: &mut Conn<'_>, user: UserId) -> Result<Option<Profile>> {
    fetch_optional!(
        conn,
        Profile,
        "SELECT id, gender, birthday_at, bio, location, website FROM profiles WHERE user_id = ?",
        user
    )
}

pub async fn insert_user(conn: &mut Conn<'_>, new: &NewUser<'_>) -> Result<UserId> {
    let done = execute!(
        conn,
        "INSERT INTO users (uuid, username, username_key, password_hash, avatar, device_id, uniplatform, devicemodel, \
         deviceos, devicebrand, userset, role, last_login_at, created_at, updated_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', ?, ?, ?, ?)",
        &new.uuid,
        new.username,
        username_key(new.username),
        new.password_hash,
        super::model::DEFAULT_AVATAR,
        new.device_id,
        &new.stats.uniplatform,
        &new.stats.devicemodel,
        &new.stats.deviceos,
        &new.stats.devicebrand,
        new.role.as_str(),
        new.last_login_at,
        new.now_ms,
        new.now_ms,
    )?;
    Ok(UserId(done.id))
}

pub async fn insert_profile(conn: &mut Conn<'_>, user: UserId, now_ms: i64) -> Result<()> {
    execute!(conn, "INSERT INTO profiles (user_id, created_at, updated_at) VALUES (?, ?, ?)", user, now_ms, now_ms)?;
    Ok(())
}

/// Makes a registered name findable by every part of it (table `username_parts`).
pub async fn insert_username_parts(conn: &mut Conn<'_>, user: UserId, username: &str) -> Result<()> {
    let key = username_key(username);
    let parts: Vec<_> = username_parts(&key).take(ROWS_MAX).collect();
    let sql = Sql::rows("INSERT INTO username_parts (whole, part, user_id) VALUES ", "(?,?,?)", parts.len(), "");
    execute_with!(conn, sql, q => {
        for (whole, part) in &parts {
            q = q.bind(i64::from(*whole)).bind(part.as_bytes()).bind(user);
        }
        q
    })?;
    Ok(())
}

/// The first enabled users whose names begin with `key`, by name (primary key of `username_parts`). CROSS JOIN fixes the
/// order of the reads on SQLite: the range first, then each user by id.
pub async fn list_users_by_start(conn: &mut Conn<'_>, key: &str, except: UserId, limit: i64) -> Result<Vec<Found>> {
    let rows = "SELECT u.id, u.uuid, u.username, u.nickname, u.avatar, u.role \
        FROM username_parts p CROSS JOIN users u ON u.id = p.user_id \
        WHERE p.whole = 1 AND p.part >= ? AND p.part < ? AND u.status = 1 AND u.role <> 'visitor' AND u.id <> ? \
        ORDER BY p.part LIMIT ?";
    let mut found = list_found(conn, rows, key, except, limit).await?;
    found.sort_by_cached_key(|user| username_key(&user.username));
    Ok(found)
}

/// Enabled users whose names hold `key` after their first character, in no order (primary key of `username_parts`). A name
/// may hold it twice, hence DISTINCT, which sorts nothing but ids.
pub async fn list_users_by_middle(conn: &mut Conn<'_>, key: &str, except: UserId, limit: i64) -> Result<Vec<Found>> {
    let rows = "SELECT u.id, u.uuid, u.username, u.nickname, u.avatar, u.role \
        FROM (SELECT DISTINCT p.user_id AS id FROM username_parts p CROSS JOIN users v ON v.id = p.user_id \
        WHERE p.whole = 0 AND p.part >= ? AND p.part < ? AND v.status = 1 AND v.role <> 'visitor' AND v.id <> ? \
        LIMIT ?) found CROSS JOIN users u ON u.id = found.id";
    list_found(conn, rows, key, except, limit).await
}

/// Those whom one of the two queries finds. Packed: a keyword of one letter finds as many as there may be.
async fn list_found(
    conn: &mut Conn<'_>,
    rows: &'static str,
    key: &str,
    except: UserId,
    limit: i64,
) -> Result<Vec<Found>> {
    let (from, below) = range(key);
    let sql = Sql::packed(conn.engine(), &["id", "uuid", "username", "nickname", "avatar", "role"], rows);
    let (packed,) = fetch_one!(conn, (Option<String>,), sql, &from[..], &below[..], except, limit)?;
    packed::rows(packed.as_deref(), |columns| {
        Some(Found {
            id: UserId(columns.int()?),
            uuid: columns.text()?.to_owned(),
            username: columns.text()?.to_owned(),
            nickname: columns.text()?.to_owned(),
            avatar: columns.text()?.to_owned(),
            role: columns.text()?.to_owned(),
        })
    })
}

/// The bounds of everything that begins with `key`: no byte of UTF-8 is as large as 255.
fn range(key: &str) -> (Vec<u8>, Vec<u8>) {
    let from = key.as_bytes().to_vec();
    let below = from.iter().copied().chain([u8::MAX]).collect();
    (from, below)
}

/// Turns the device's guest into a registered account and unlinks the device. Returns whether the row still was a guest.
pub async fn update_guest_to_user(
    conn: &mut Conn<'_>,
    guest: UserId,
    username: &str,
    password_hash: &str,
    now_ms: i64,
) -> Result<bool> {
    let done = execute!(
        conn,
        "UPDATE users SET username = ?, username_key = ?, password_hash = ?, role = 'user', device_id = NULL, \
         last_login_at = ?, updated_at = ? WHERE id = ? AND role = 'visitor'",
        username,
        username_key(username),
        password_hash,
        now_ms,
        now_ms,
        guest,
    )?;
    Ok(done.rows == 1)
}

pub async fn update_device_unlinked(conn: &mut Conn<'_>, user: UserId, now_ms: i64) -> Result<()> {
    execute!(conn, "UPDATE users SET device_id = NULL, updated_at = ? WHERE id = ?", now_ms, user)?;
    Ok(())
}

pub async fn update_device_stats(conn: &mut Conn<'_>, user: UserId, stats: &DeviceStats, now_ms: i64) -> Result<()> {
    execute!(
        conn,
        "UPDATE users SET uniplatform = ?, devicemodel = ?, deviceos = ?, devicebrand = ?, updated_at = ? WHERE id = ?",
        &stats.uniplatform,
        &stats.devicemodel,
        &stats.deviceos,
        &stats.devicebrand,
        now_ms,
        user,
    )?;
    Ok(())
}

pub async fn update_last_login(conn: &mut Conn<'_>, user: UserId, ip: &str, now_ms: i64) -> Result<()> {
    execute!(
        conn,
        "UPDATE users SET last_login_at = ?, last_login_ip = ?, updated_at = ? WHERE id = ?",
        now_ms,
        ip,
        now_ms,
        user
    )?;
    Ok(())
}

/// Replaces `old_hash`. False, and nothing done, if the password was changed meanwhile.
pub async fn update_password(
    conn: &mut Conn<'_>,
    user: UserId,
    old_hash: &str,
    hash: &str,
    now_ms: i64,
) -> Result<bool> {
    let done = execute!(
        conn,
        "UPDATE users SET password_hash = ?, updated_at = ? WHERE id = ? AND password_hash = ?",
        hash,
        now_ms,
        user,
        old_hash
    )?;
    Ok(done.rows == 1)
}

pub async fn update_nickname(conn: &mut Conn<'_>, user: UserId, nickname: &str, now_ms: i64) -> Result<()> {
    execute!(conn, "UPDATE users SET nickname = ?, updated_at = ? WHERE id = ?", nickname, now_ms, user)?;
    Ok(())
}

pub async fn update_avatar(conn: &mut Conn<'_>, user: UserId, avatar: &str, now_ms: i64) -> Result<()> {
    execute!(conn, "UPDATE users SET avatar = ?, updated_at = ? WHERE id = ?", avatar, now_ms, user)?;
    Ok(())
}

pub async fn update_invite_confirm(conn: &mut Conn<'_>, user: UserId, value: i64, now_ms: i64) -> Result<()> {
    execute!(conn, "UPDATE users SET invite_confirm = ?, updated_at = ? WHERE id = ?", value, now_ms, user)?;
    Ok(())
}

pub async fn update_userset(conn: &mut Conn<'_>, user: UserId, userset: &str, now_ms: i64) -> Result<()> {
    execute!(conn, "UPDATE users SET userset = ?, updated_at = ? WHERE id = ?", userset, now_ms, user)?;
    Ok(())
}

/// At most two rows: one a role.
pub async fn list_sessions(conn: &mut Conn<'_>, user: UserId) -> Result<Vec<SessionRow>> {
    fetch_all!(
        conn,
        SessionRow,
        "SELECT role, token_id, issued_at, expires_at, answers_pings FROM sessions WHERE user_id = ?",
        user
    )
}

/// Takes note that whoever bears these tokens answers pings; up to [`ROWS_MAX`] of them.
pub async fn update_answers_pings(conn: &mut Conn<'_>, tokens: &[(UserId, Box<str>)]) -> Result<()> {
    let count = tokens.len();
    let sql = Sql::rows("UPDATE sessions SET answers_pings = 1 WHERE user_id IN (", "?", count, ") AND token_id IN (");
    let sql = sql.then("?", count, ",", ")");
    execute_with!(conn, sql, q => {
        for (user, _) in tokens {
            q = q.bind(*user);
        }
        for (_, token_id) in tokens {
            q = q.bind(&**token_id);
        }
        q
    })?;
    Ok(())
}

/// Makes `session` the live one of its user and role.
pub async fn upsert_session(conn: &mut Conn<'_>, user: UserId, session: &SessionRow) -> Result<()> {
    let columns = ["token_id", "issued_at", "expires_at", "answers_pings"];
    let tail = dialect::on_conflict_update(conn.engine(), "user_id, role", &columns);
    let sql = Sql::rows(
        "INSERT INTO sessions (user_id, role, token_id, issued_at, expires_at, answers_pings) VALUES ",
        "(?,?,?,?,?,?)",
        1,
        &tail,
    );
    let SessionRow { role, token_id, issued_at, expires_at, answers_pings } = session;
    execute!(conn, sql, user, role, token_id, issued_at, expires_at, answers_pings)?;
    Ok(())
}

/// Has the token of one role have another, which none of `user`'s has.
pub async fn update_session_role(conn: &mut Conn<'_>, user: UserId, from: &str, to: &str) -> Result<()> {
    execute!(conn, "UPDATE sessions SET role = ? WHERE user_id = ? AND role = ?", to, user, from)?;
    Ok(())
}

/// Ends every token of `user` except `keep`.
pub async fn delete_sessions_except(conn: &mut Conn<'_>, user: UserId, keep: &str) -> Result<()> {
    execute!(conn, "DELETE FROM sessions WHERE user_id = ? AND token_id <> ?", user, keep)?;
    Ok(())
}

/// Up to `limit` tokens that were over before then (index `sessions_expires`).
pub async fn list_expired_sessions(conn: &mut Conn<'_>, before_ms: i64, limit: usize) -> Result<Vec<(UserId, String)>> {
    fetch_all!(
        conn,
        (UserId, String),
        "SELECT user_id, role FROM sessions WHERE expires_at < ? ORDER BY expires_at LIMIT ?",
        before_ms,
        bigint(limit)
    )
}

/// Forgets a token, unless another has taken its place. Returns how many there were.
pub async fn delete_expired_session(conn: &mut Conn<'_>, user: UserId, role: &str, before_ms: i64) -> Result<u64> {
    let done = execute!(
        conn,
        "DELETE FROM sessions WHERE user_id = ? AND role = ? AND expires_at < ?",
        user,
        role,
        before_ms
    )?;
    Ok(done.rows)
}

/// The role's word, as the rows of `sessions` hold it.
impl From<Role> for String {
    fn from(role: Role) -> Self {
        role.as_str().to_owned()
    }
}
