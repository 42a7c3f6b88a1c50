//! Rows for MySQL and MariaDB, which choose their plans by the tables' sizes: some thousands a table, and one person and
//! one group that have far more than others. The first row of every table is theirs: user 1, friend 2, group 1.

use sqlx::{Executor, MySqlConnection};

/// `n` from 1 to 20,000; each other statement fills a table from it.
const NUMBERS: [&str; 2] = [
    "CREATE TABLE numbers (n INT NOT NULL PRIMARY KEY)",
    "INSERT INTO numbers SELECT 1 + a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d FROM digits a JOIN digits b \
     JOIN digits c JOIN digits e JOIN digits f WHERE f.d < 2",
];

const TABLES: &[&str] = &[
    "INSERT INTO users (id, uuid, username, username_key, password_hash, avatar, device_id, userset, role, created_at, \
     updated_at) SELECT n, CONCAT('uuid-', n), CONCAT('name', n), CONCAT('name', n), 'hash', '', \
     CASE WHEN n % 10 = 0 THEN CONCAT('device-', n) END, '', CASE WHEN n % 10 = 0 THEN 'visitor' ELSE 'user' END, 0, 0 \
     FROM numbers WHERE n <= 5000",
    "INSERT INTO profiles (id, user_id, created_at, updated_at) SELECT n, n, 0, 0 FROM numbers WHERE n <= 5000",
    "INSERT INTO sessions (user_id, role, token_id, issued_at, expires_at) SELECT n, 'user', CONCAT('token-', n), 0, 0 \
     FROM numbers WHERE n <= 5000",
    "INSERT INTO username_parts (whole, part, user_id) SELECT CASE WHEN d = 0 THEN 1 ELSE 0 END, \
     CAST(SUBSTRING(username_key, d + 1) AS BINARY), id FROM users JOIN digits ON d < CHAR_LENGTH(username_key) \
     WHERE id <= 5000 AND role <> 'visitor'",
    "INSERT INTO friends (id, user_id, friend_id, created_at, updated_at) \
     SELECT n, 1, n + 1, 0, 0 FROM numbers WHERE n <= 2000",
    "INSERT INTO friends (user_id, friend_id, created_at, updated_at) SELECT n, 5000 + d, 0, 0 FROM numbers \
     JOIN digits ON d < 4 WHERE n BETWEEN 2 AND 5000",
    "INSERT INTO friend_applications (id, user_id, friend_id, status, pending_mark, created_at, updated_at) \
     SELECT n, n, 2, CASE WHEN n % 50 = 1 THEN 'pending' ELSE 'agree' END, CASE WHEN n % 50 = 1 THEN 1 END, 0, 0 \
     FROM numbers WHERE n <= 2000",
    "INSERT INTO friend_applications (user_id, friend_id, status, created_at, updated_at) \
     SELECT CASE WHEN n <= 3000 THEN 1 ELSE n END, n % 5000 + 2, 'agree', 0, 0 FROM numbers WHERE n > 2000",
    "INSERT INTO friend_application_counts (user_id, pending) SELECT n, 1 FROM numbers WHERE n <= 5000",
    "INSERT INTO chat_groups (id, uuid, owner_id, name, avatar, remark, last_seq, created_at, updated_at) \
     SELECT n, CONCAT('uuid-', n), n, 'name', '', '', CASE WHEN n = 1 THEN 10000 ELSE 10 END, 0, 0 \
     FROM numbers WHERE n <= 3000",
    "INSERT INTO group_members (id, group_id, user_id, created_at, updated_at) \
     SELECT n, 1, n, 0, 0 FROM numbers WHERE n <= 500",
    "INSERT INTO group_members (group_id, user_id, created_at, updated_at) \
     SELECT n, 1, 0, 0 FROM numbers WHERE n BETWEEN 2 AND 1000",
    "INSERT INTO group_members (group_id, user_id, created_at, updated_at) \
     SELECT n, n + 1000 * d, 0, 0 FROM numbers JOIN digits ON d BETWEEN 1 AND 4 WHERE n BETWEEN 2 AND 3000",
    "INSERT INTO subscriptions (id, group_id, user_id, delivered_seq, active_from_seq) \
     SELECT id, group_id, user_id, 0, 0 FROM group_members WHERE id <= 500",
    "INSERT INTO subscriptions (group_id, user_id, delivered_seq, active_from_seq) \
     SELECT group_id, user_id, 5, 0 FROM group_members WHERE group_id BETWEEN 2 AND 3000",
    "INSERT INTO subscriptions (group_id, user_id, delivered_seq, active_from_seq, until_seq, open_mark) \
     SELECT group_id, user_id, 5, 0, 5, NULL FROM group_members WHERE group_id <= 3000 AND id % 3 = 1",
    "INSERT INTO messages (id, uuid, sender_id, recipient_id, created_at, size, body) \
     SELECT n, UNHEX(LPAD(HEX(n), 32, '0')), 2, 1, 0, 300, REPEAT('x', 300) FROM numbers WHERE n <= 10000",
    "INSERT INTO messages (uuid, sender_id, group_id, seq, created_at, size, body) \
     SELECT UNHEX(LPAD(HEX(20000 + n), 32, '0')), 2, 1, n, 0, 300, REPEAT('x', 300) FROM numbers WHERE n <= 10000",
    "INSERT INTO messages (uuid, sender_id, recipient_id, created_at, size, body) \
     SELECT UNHEX(LPAD(HEX(40000 + n), 32, '0')), 2, 2 + n % 4999, 0, 300, REPEAT('x', 300) FROM numbers",
    "INSERT INTO inboxes (user_id, delivered_id) SELECT n, 0 FROM numbers WHERE n <= 5000",
    "INSERT INTO backlog (user_id, message_id) SELECT recipient_id, id FROM messages WHERE recipient_id IS NOT NULL",
    "UPDATE backlog_progress SET filed_id = (SELECT MAX(id) FROM messages)",
    "INSERT INTO early_receipts (user_id, message_id) SELECT 1 + n % 1000, n FROM numbers",
    "INSERT INTO contacts (sender_id, recipient_id) SELECT 1 + n DIV 2001, n FROM numbers",
    "INSERT INTO answers (id, user_id, kind, ask, answer, created_at, updated_at) \
     SELECT n, CASE WHEN n <= 500 THEN 1 ELSE n END, CASE WHEN n % 5 = 1 THEN 'kind' ELSE '' END, 'ask', 'answer', 0, 0 \
     FROM numbers WHERE n <= 5000",
];

/// Fills every table, and lets the engine look at what it holds now.
pub async fn fill(conn: &mut MySqlConnection) {
    conn.execute("CREATE TABLE digits AS SELECT 0 AS d").await.unwrap();
    for digit in 1..10 {
        sqlx::query("INSERT INTO digits VALUES (?)").bind(digit).execute(&mut *conn).await.unwrap();
    }
    for statement in NUMBERS.iter().chain(TABLES) {
        conn.execute(*statement).await.unwrap_or_else(|cause| panic!("{statement}: {cause}"));
    }
    let tables = sqlx::query_scalar::<_, String>(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()",
    );
    for table in tables.fetch_all(&mut *conn).await.unwrap() {
        conn.execute(sqlx::AssertSqlSafe(format!("ANALYZE TABLE `{table}`"))).await.unwrap();
    }
}
