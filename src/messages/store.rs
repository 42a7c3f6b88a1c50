//! Statements on `messages`, `backlog` and its progress, `inboxes`, `early_receipts` and `contacts`, and on what of
//! `subscriptions` says what is due.

use super::model::{
    Address, Aging, Audience, Due, Filed, Holder, Inbox, NewMessage, Progress, Received, Sent, Subscription,
};
use crate::db::sql::{Sql, bigint};
use crate::db::{Conn, dialect, execute, execute_with, fetch_all, fetch_all_with, fetch_one, fetch_optional};
use crate::error::Result;
use crate::ids::{GroupId, MessageId, SubscriptionId, UserId};

/// Inserts up to [`ROWS_MAX`] messages with the group numbers that go with them; ids are consecutive from the returned one.
pub async fn insert(conn: &mut Conn<'_>, rows: &[(&NewMessage, Option<i64>)]) -> Result<MessageId> {
    let sql = Sql::rows(
        "INSERT INTO messages (uuid, sender_id, recipient_id, group_id, seq, audience, created_at, size, body) VALUES ",
        "(?,?,?,?,?,?,?,?,?)",
        rows.len(),
        "",
    );
    let done = execute_with!(conn, sql, q => {
        for (message, seq) in rows {
            let (recipient, group, audience) = match message.address {
                Address::User(id) => (Some(id), None, Audience::Others),
                Address::Group(id, audience) => (None, Some(id), audience),
            };
            q = q
                .bind(message.uuid.as_ref().map(|uuid| uuid.as_bytes().to_vec()))
                .bind(message.sender)
                .bind(recipient)
                .bind(group)
                .bind(*seq)
                .bind(audience as i64)
                .bind(message.created_at)
                .bind(bigint(message.body.len()))
                .bind(std::str::from_utf8(&message.body).expect("a body is JSON text of our own"));
        }
        q
    })?;
    Ok(MessageId(dialect::first_id(conn.engine(), done, rows.len())))
}

pub async fn find_sent(conn: &mut Conn<'_>, uuid: &uuid::Uuid) -> Result<Option<Sent>> {
    fetch_optional!(
        conn,
        Sent,
        "SELECT id, sender_id, recipient_id, group_id, created_at, body FROM messages WHERE uuid = ?",
        uuid.as_bytes().to_vec()
    )
}

pub async fn update_body(conn: &mut Conn<'_>, id: MessageId, body: &str) -> Result<()> {
    let size = bigint(body.len());
    execute!(conn, "UPDATE messages SET body = ?, size = ? WHERE id = ?", body, size, id)?;
    Ok(())
}

/// How far messages are filed, and the newest of all, in one look.
pub async fn find_progress(conn: &mut Conn<'_>) -> Result<Progress> {
    fetch_one!(
        conn,
        Progress,
        "SELECT filed_id, COALESCE((SELECT MAX(id) FROM messages), 0) AS newest_id FROM backlog_progress WHERE id = 1"
    )
}

/// Direct messages between two ids that no cursor has passed, with their recipients. At most as many as there are ids.
pub async fn list_unreceived(
    conn: &mut Conn<'_>,
    after: MessageId,
    up_to: MessageId,
) -> Result<Vec<(UserId, MessageId)>> {
    fetch_all!(
        conn,
        (UserId, MessageId),
        "SELECT m.recipient_id, m.id FROM messages m LEFT JOIN inboxes i ON i.user_id = m.recipient_id \
         WHERE m.id > ? AND m.id <= ? AND m.recipient_id IS NOT NULL AND m.id > COALESCE(i.delivered_id, 0)",
        after,
        up_to
    )
}

/// Files up to [`ROWS_MAX`] messages.
pub async fn insert_backlog(conn: &mut Conn<'_>, rows: &[(UserId, MessageId)]) -> Result<()> {
    let sql = Sql::rows("INSERT INTO backlog (user_id, message_id) VALUES ", "(?,?)", rows.len(), "");
    execute_with!(conn, sql, q => {
        for (user, id) in rows {
            q = q.bind(*user).bind(*id);
        }
        q
    })?;
    Ok(())
}

/// Moves the progress of filing on, if it is as expected. Returns whether it was.
pub async fn update_filed(conn: &mut Conn<'_>, expected: MessageId, up_to: MessageId) -> Result<bool> {
    let done =
        execute!(conn, "UPDATE backlog_progress SET filed_id = ? WHERE id = 1 AND filed_id = ?", up_to, expected)?;
    Ok(done.rows == 1)
}

pub async fn find_inbox_cursor(conn: &mut Conn<'_>, user: UserId) -> Result<MessageId> {
    let row = fetch_optional!(conn, (MessageId,), "SELECT delivered_id FROM inboxes WHERE user_id = ?", user)?;
    Ok(row.map(|(id,)| id).unwrap_or_default())
}

/// Filed messages after `after` that were not received early, oldest first.
pub async fn list_due_filed(
    conn: &mut Conn<'_>,
    user: UserId,
    after: MessageId,
    up_to: MessageId,
    limit: i64,
) -> Result<Vec<Due>> {
    fetch_all!(
        conn,
        Due,
        "SELECT b.message_id AS id, m.size, 0 AS subscription, 0 AS seq FROM backlog b JOIN messages m ON m.id = b.message_id \
         WHERE b.user_id = ? AND b.message_id > ? AND b.message_id <= ? \
         AND NOT EXISTS (SELECT 1 FROM early_receipts e WHERE e.user_id = ? AND e.message_id = b.message_id) \
         ORDER BY b.message_id LIMIT ?",
        user,
        after,
        up_to,
        user,
        limit
    )
}

/// Messages that are not filed yet, after `after`, which is behind all that are: the same of them.
pub async fn list_due_unfiled(
    conn: &mut Conn<'_>,
    user: UserId,
    after: MessageId,
    up_to: MessageId,
    limit: i64,
) -> Result<Vec<Due>> {
    fetch_all!(
        conn,
        Due,
        "SELECT m.id, m.size, 0 AS subscription, 0 AS seq FROM messages m WHERE m.id > ? AND m.id <= ? AND m.recipient_id = ? \
         AND NOT EXISTS (SELECT 1 FROM early_receipts e WHERE e.user_id = ? AND e.message_id = m.id) \
         ORDER BY m.id LIMIT ?",
        after,
        up_to,
        user,
        user,
        limit
    )
}

/// Subscriptions of the person in the groups after one, of those that have messages behind the cursor, by group (indexes
/// `subscriptions_user` and primary).
pub async fn list_subscriptions(
    conn: &mut Conn<'_>,
    user: UserId,
    after: GroupId,
    limit: i64,
) -> Result<Vec<Subscription>> {
    fetch_all!(
        conn,
        Subscription,
        "SELECT s.id, s.group_id, s.delivered_seq, s.active_from_seq, \
         CASE WHEN s.until_seq < g.last_seq THEN s.until_seq ELSE g.last_seq END AS last_seq \
         FROM subscriptions s JOIN chat_groups g ON g.id = s.group_id AND g.last_seq > s.delivered_seq \
         WHERE s.user_id = ? AND s.group_id > ? AND s.delivered_seq < s.until_seq ORDER BY s.group_id LIMIT ?",
        user,
        after,
        limit
    )
}

/// Of each of the subscriptions, the first messages after its cursor and after `after` that are due and were not received early
/// (index `messages_group`). Each subscription is a range with bounds that are values: as a join, MySQL would walk through the
/// whole history of each group.
pub async fn list_due_group(
    conn: &mut Conn<'_>,
    user: UserId,
    after: MessageId,
    subscriptions: &[Subscription],
    limit: i64,
) -> Result<Vec<Due>> {
    let one = Sql::around(
        "SELECT id, size, subscription, seq FROM (\
         SELECT m.id, m.size, CAST(? AS SIGNED) AS subscription, m.seq FROM messages m",
        &dialect::by_index(conn.engine(), "messages_group"),
        " WHERE m.group_id = ? AND m.seq > ? AND m.seq <= ? AND m.id > ? \
         AND (m.audience = 2 OR m.seq > ?) AND (m.audience <> 0 OR m.sender_id <> ?) \
         AND NOT EXISTS (SELECT 1 FROM early_receipts e WHERE e.user_id = ? AND e.message_id = m.id) \
         ORDER BY m.seq LIMIT ?) due",
    );
    let sql = Sql::union(&one, subscriptions.len());
    fetch_all_with!(conn, Due, sql, q => {
        for subscription in subscriptions {
            q = q
                .bind(subscription.id)
                .bind(subscription.group_id)
                .bind(subscription.delivered_seq)
                .bind(subscription.last_seq)
                .bind(after)
                .bind(subscription.active_from_seq)
                .bind(user)
                .bind(user)
                .bind(limit);
        }
        q
    })
}

/// Bodies of up to [`ROWS_MAX`] messages, oldest first.
pub async fn list_bodies(conn: &mut Conn<'_>, ids: &[MessageId]) -> Result<Vec<(MessageId, String)>> {
    let sql = Sql::rows("SELECT id, body FROM messages WHERE id IN (", "?", ids.len(), ") ORDER BY id");
    fetch_all_with!(conn, (MessageId, String), sql, q => {
        for id in ids {
            q = q.bind(*id);
        }
        q
    })
}

/// Moves the cursors of up to [`ROWS_MAX`] people, never back.
pub async fn upsert_inbox_cursors(conn: &mut Conn<'_>, cursors: &[(UserId, MessageId)]) -> Result<()> {
    let tail = dialect::on_conflict_raise(conn.engine(), "user_id", "delivered_id");
    let sql = Sql::rows("INSERT INTO inboxes (user_id, delivered_id) VALUES ", "(?,?)", cursors.len(), &tail);
    execute_with!(conn, sql, q => {
        for (user, id) in cursors {
            q = q.bind(*user).bind(*id);
        }
        q
    })?;
    Ok(())
}

/// Moves up to [`ROWS_MAX`] subscriptions to the same number.
pub async fn update_subscription_cursors(conn: &mut Conn<'_>, ids: &[SubscriptionId], seq: i64) -> Result<()> {
    let sql = Sql::rows(
        "UPDATE subscriptions SET delivered_seq = ? WHERE delivered_seq < ? AND id IN (",
        "?",
        ids.len(),
        ")",
    );
    execute_with!(conn, sql, q => {
        q = q.bind(seq).bind(seq);
        for id in ids {
            q = q.bind(*id);
        }
        q
    })?;
    Ok(())
}

/// Records up to [`ROWS_MAX`] messages as received before older ones.
pub async fn insert_early_receipts(conn: &mut Conn<'_>, receipts: &[(UserId, MessageId)]) -> Result<()> {
    let tail = dialect::on_conflict_ignore(conn.engine(), "user_id, message_id");
    let sql = Sql::rows("INSERT INTO early_receipts (user_id, message_id) VALUES ", "(?,?)", receipts.len(), &tail);
    execute_with!(conn, sql, q => {
        for (user, id) in receipts {
            q = q.bind(*user).bind(*id);
        }
        q
    })?;
    Ok(())
}

/// The first message from this id on, and when it was sent.
pub async fn find_next(conn: &mut Conn<'_>, id: MessageId) -> Result<Option<(MessageId, i64)>> {
    fetch_optional!(conn, (MessageId, i64), "SELECT id, created_at FROM messages WHERE id >= ? ORDER BY id LIMIT 1", id)
}

/// Messages between two ids, whether they are direct ones that were received, and when they were sent, oldest first.
pub async fn list_received(
    conn: &mut Conn<'_>,
    after: MessageId,
    up_to: MessageId,
    limit: usize,
) -> Result<Vec<Received>> {
    fetch_all!(
        conn,
        Received,
        "SELECT m.id, m.created_at, CASE WHEN m.id <= i.delivered_id THEN 1 ELSE 0 END AS received \
         FROM messages m LEFT JOIN inboxes i ON i.user_id = m.recipient_id \
         WHERE m.id > ? AND m.id <= ? ORDER BY m.id LIMIT ?",
        after,
        up_to,
        bigint(limit)
    )
}

/// Inboxes from a person's on, each with the oldest message of its backlog, in the whole order of its index, as in [`list_groups`].
pub async fn list_inboxes(conn: &mut Conn<'_>, from: UserId, limit: usize) -> Result<Vec<Inbox>> {
    fetch_all!(
        conn,
        Inbox,
        "SELECT i.user_id, i.delivered_id, \
         (SELECT b.message_id FROM backlog b WHERE b.user_id = i.user_id ORDER BY b.user_id, b.message_id LIMIT 1) AS oldest_id \
         FROM inboxes i WHERE i.user_id >= ? ORDER BY i.user_id LIMIT ?",
        from,
        bigint(limit)
    )
}

/// A person's backlog up to a message and when they were sent, oldest first; no time of those that are gone.
pub async fn list_filed(conn: &mut Conn<'_>, user: UserId, up_to: MessageId, limit: usize) -> Result<Vec<Filed>> {
    fetch_all!(
        conn,
        Filed,
        "SELECT b.user_id, b.message_id, m.created_at FROM backlog b LEFT JOIN messages m ON m.id = b.message_id \
         WHERE b.user_id = ? AND b.message_id <= ? ORDER BY b.message_id LIMIT ?",
        user,
        up_to,
        bigint(limit)
    )
}

/// Takes up to [`ROWS_MAX`] messages out of a person's backlog.
pub async fn delete_backlog(conn: &mut Conn<'_>, user: UserId, messages: &[MessageId]) -> Result<()> {
    let sql = Sql::rows("DELETE FROM backlog WHERE user_id = ? AND message_id IN (", "?", messages.len(), ")");
    execute_with!(conn, sql, q => {
        q = q.bind(user);
        for id in messages {
            q = q.bind(*id);
        }
        q
    })?;
    Ok(())
}

/// Groups from one on, each with its oldest message (index `messages_group`, in whose whole order MySQL 8 wants it named, or it sorts the
/// history).
pub async fn list_groups(
    conn: &mut Conn<'_>,
    from: GroupId,
    limit: usize,
) -> Result<Vec<(GroupId, Option<MessageId>)>> {
    let sql = Sql::around(
        "SELECT g.id, (SELECT m.id FROM messages m",
        &dialect::by_index(conn.engine(), "messages_group"),
        " WHERE m.group_id = g.id ORDER BY m.group_id, m.seq LIMIT 1) AS oldest_id \
         FROM chat_groups g WHERE g.id >= ? ORDER BY g.id LIMIT ?",
    );
    fetch_all!(conn, (GroupId, Option<MessageId>), sql, from, bigint(limit))
}

/// A group's messages after a number, oldest first (index `messages_group`).
pub async fn list_in_group(conn: &mut Conn<'_>, group: GroupId, after: i64, limit: usize) -> Result<Vec<Aging>> {
    let sql = Sql::around(
        "SELECT id, seq, sender_id, audience, created_at FROM messages",
        &dialect::by_index(conn.engine(), "messages_group"),
        " WHERE group_id = ? AND seq > ? ORDER BY seq LIMIT ?",
    );
    fetch_all!(conn, Aging, sql, group, after, bigint(limit))
}

/// Subscriptions of the group that have not passed its messages from `first` to `last` and have not ended before them (index
/// `subscriptions_open`). Reads all subscriptions of the group: an index on cursors would have to follow every confirmation.
pub async fn list_holders(
    conn: &mut Conn<'_>,
    group: GroupId,
    first: i64,
    last: i64,
    limit: usize,
) -> Result<Vec<Holder>> {
    let sql = Sql::around(
        "SELECT user_id, delivered_seq, active_from_seq, until_seq FROM subscriptions",
        &dialect::by_index(conn.engine(), "subscriptions_open"),
        " WHERE group_id = ? AND delivered_seq < ? AND until_seq >= ? LIMIT ?",
    );
    fetch_all!(conn, Holder, sql, group, last, first, bigint(limit))
}

/// Forgets up to [`ROWS_MAX`] messages. Returns how many there were.
pub async fn delete_messages(conn: &mut Conn<'_>, ids: &[MessageId]) -> Result<u64> {
    let sql = Sql::rows("DELETE FROM messages WHERE id IN (", "?", ids.len(), ")");
    let done = execute_with!(conn, sql, q => {
        for id in ids {
            q = q.bind(*id);
        }
        q
    })?;
    Ok(done.rows)
}

/// Early receipts with whether they are needed: the message is there, and no cursor has passed it.
macro_rules! early_where {
    ($condition:literal) => {
        concat!(
            "SELECT e.user_id, e.message_id, CASE WHEN m.id IS NULL THEN 0 \
             WHEN m.group_id IS NULL THEN CASE WHEN m.id <= i.delivered_id THEN 0 ELSE 1 END \
             WHEN EXISTS (SELECT 1 FROM subscriptions s WHERE s.user_id = e.user_id AND s.group_id = m.group_id \
             AND s.delivered_seq < m.seq AND s.until_seq >= m.seq) THEN 1 ELSE 0 END AS needed \
             FROM early_receipts e LEFT JOIN messages m ON m.id = e.message_id \
             LEFT JOIN inboxes i ON i.user_id = e.user_id WHERE ",
            $condition
        )
    };
}

/// A person's early receipts after that of a message.
pub async fn list_early_receipts(
    conn: &mut Conn<'_>,
    user: UserId,
    after: MessageId,
    limit: usize,
) -> Result<Vec<(UserId, MessageId, i64)>> {
    fetch_all!(
        conn,
        (UserId, MessageId, i64),
        early_where!("e.user_id = ? AND e.message_id > ? ORDER BY e.message_id LIMIT ?"),
        user,
        after,
        bigint(limit)
    )
}

/// Early receipts of those after a person.
pub async fn list_early_receipts_after(
    conn: &mut Conn<'_>,
    user: UserId,
    limit: usize,
) -> Result<Vec<(UserId, MessageId, i64)>> {
    fetch_all!(
        conn,
        (UserId, MessageId, i64),
        early_where!("e.user_id > ? ORDER BY e.user_id, e.message_id LIMIT ?"),
        user,
        bigint(limit)
    )
}

/// Forgets up to [`ROWS_MAX`] early receipts of one person. Returns how many there were.
pub async fn delete_early_receipts(conn: &mut Conn<'_>, user: UserId, messages: &[MessageId]) -> Result<u64> {
    let sql = Sql::rows("DELETE FROM early_receipts WHERE user_id = ? AND message_id IN (", "?", messages.len(), ")");
    let done = execute_with!(conn, sql, q => {
        q = q.bind(user);
        for id in messages {
            q = q.bind(*id);
        }
        q
    })?;
    Ok(done.rows)
}

pub async fn contact_exists(conn: &mut Conn<'_>, sender: UserId, recipient: UserId) -> Result<bool> {
    let row = fetch_optional!(
        conn,
        (i64,),
        "SELECT sender_id FROM contacts WHERE sender_id = ? AND recipient_id = ?",
        sender,
        recipient
    )?;
    Ok(row.is_some())
}

/// Remembers up to [`ROWS_MAX`] pairs as "has written to".
pub async fn insert_contacts(conn: &mut Conn<'_>, pairs: &[(UserId, UserId)]) -> Result<()> {
    let tail = dialect::on_conflict_ignore(conn.engine(), "sender_id, recipient_id");
    let sql = Sql::rows("INSERT INTO contacts (sender_id, recipient_id) VALUES ", "(?,?)", pairs.len(), &tail);
    execute_with!(conn, sql, q => {
        for (sender, recipient) in pairs {
            q = q.bind(*sender).bind(*recipient);
        }
        q
    })?;
    Ok(())
}
