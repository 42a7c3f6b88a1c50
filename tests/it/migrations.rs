//! A store that was filled before a migration has what the migration promises of its rows.

use qingniao::config::Config;
use qingniao::db::{Conn, Db};
use sqlx::{query, query_as, raw_sql};

use crate::support::{database, skip};

/// Runs what cannot be prepared, or need not be.
pub async fn run(db: &Db, statement: &'static str) {
    match db.write_one().await.unwrap().conn() {
        Conn::MySql(c) => {
            raw_sql(statement).execute(c.start()).await.map(drop).unwrap();
            c.ended(None);
        }
        Conn::Sqlite(c) => raw_sql(statement).execute(c).await.map(drop).unwrap(),
    }
}

/// From now on the store takes no row into this table.
macro_rules! refuse_inserts {
    ($db:expr, $table:literal) => {{
        let trigger = match $db.engine() {
            qingniao::db::Engine::MySql => concat!(
                "CREATE TRIGGER full BEFORE INSERT ON ",
                $table,
                " FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'full'"
            ),
            qingniao::db::Engine::Sqlite => {
                concat!("CREATE TRIGGER full BEFORE INSERT ON ", $table, " BEGIN SELECT RAISE(ABORT, 'full'); END")
            }
        };
        $crate::migrations::run(&$db, trigger).await;
    }};
}
pub(crate) use refuse_inserts;

/// After [`refuse_inserts`]: it takes them again.
pub async fn take_inserts(db: &Db) {
    run(db, "DROP TRIGGER full").await;
}

#[tokio::test]
async fn applications_that_waited_before_they_were_counted_are_counted() {
    const APPLY: &str = "INSERT INTO friend_applications (user_id, friend_id, status, pending_mark, created_at, updated_at) \
                         VALUES (?, ?, ?, ?, 0, 0)";
    const COUNTS: &str = "SELECT user_id, pending FROM friend_application_counts ORDER BY user_id";
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::defaults();
    config.data_dir = folder.path().to_owned();
    config.database_url = database::fresh("qingniao_counts_").await.unwrap_or_default();
    let db = Db::open(&config).await.unwrap();
    // As it was before 0040.
    run(&db, "CREATE INDEX friend_applications_pending_target ON friend_applications (friend_id, pending_mark)").await;
    run(&db, "DROP TABLE friend_application_counts").await;
    run(&db, "DELETE FROM _sqlx_migrations WHERE version BETWEEN 40 AND 42").await;
    let open = ("pending", Some(1));
    let applications = [(2, 1, open), (3, 1, open), (4, 1, ("refuse", None)), (1, 2, open), (1, 3, ("agree", None))];
    for (user, friend, (status, mark)) in applications {
        match db.write_one().await.unwrap().conn() {
            Conn::MySql(c) => {
                query(APPLY)
                    .bind(user)
                    .bind(friend)
                    .bind(status)
                    .bind(mark)
                    .execute(c.start())
                    .await
                    .map(drop)
                    .unwrap();
                c.ended(None);
            }
            Conn::Sqlite(c) => {
                query(APPLY).bind(user).bind(friend).bind(status).bind(mark).execute(c).await.map(drop).unwrap();
            }
        }
    }
    db.close().await;
    let db = Db::open(&config).await.unwrap();
    let counts: Vec<(i64, i64)> = match db.read().await.unwrap().conn() {
        Conn::MySql(c) => query_as(COUNTS).fetch_all(c.start()).await.unwrap(),
        Conn::Sqlite(c) => query_as(COUNTS).fetch_all(c).await.unwrap(),
    };
    assert_eq!(counts, [(1, 2), (2, 1)]);
}

#[tokio::test]
async fn what_was_pending_before_there_was_a_backlog_is_filed() {
    const FILED: &str = "SELECT user_id, message_id FROM backlog ORDER BY user_id, message_id";
    const PROGRESS: &str = "SELECT id, filed_id FROM backlog_progress";
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::defaults();
    config.data_dir = folder.path().to_owned();
    config.database_url = database::fresh("qingniao_filing_").await.unwrap_or_default();
    let db = Db::open(&config).await.unwrap();
    // As it was before 0060.
    run(&db, "DROP TABLE backlog").await;
    run(&db, "DROP TABLE backlog_progress").await;
    run(&db, "CREATE INDEX messages_recipient ON messages (recipient_id, id)").await;
    run(&db, "DELETE FROM _sqlx_migrations WHERE version BETWEEN 60 AND 64").await;
    run(
        &db,
        "INSERT INTO messages (id, sender_id, recipient_id, group_id, seq, created_at, size, body) \
         VALUES (1, 9, 2, NULL, NULL, 0, 2, '{}'), (2, 9, 1, NULL, NULL, 0, 2, '{}'), (3, 9, NULL, 1, 1, 0, 2, '{}'), \
         (4, 9, 2, NULL, NULL, 0, 2, '{}'), (5, 9, 1, NULL, NULL, 0, 2, '{}'), (6, 9, NULL, 1, 2, 0, 2, '{}')",
    )
    .await;
    run(&db, "INSERT INTO inboxes (user_id, delivered_id) VALUES (2, 1)").await;
    db.close().await;
    let db = Db::open(&config).await.unwrap();
    for (sql, expected) in [(FILED, vec![(1_i64, 2_i64), (1, 5), (2, 4)]), (PROGRESS, vec![(1, 6)])] {
        let rows: Vec<(i64, i64)> = match db.read().await.unwrap().conn() {
            Conn::MySql(c) => query_as(sql).fetch_all(c.start()).await.unwrap(),
            Conn::Sqlite(c) => query_as(sql).fetch_all(c).await.unwrap(),
        };
        assert_eq!(rows, expected);
    }
}

/// A kill between a change of the schema, which MySQL commits by itself, and the note that it is done.
#[tokio::test]
async fn a_migration_that_was_interrupted_is_ended_by_the_next_start() {
    let Some(url) = database::fresh("qingniao_interrupted_").await else { return skip("it needs MySQL or MariaDB") };
    let mut config = Config::defaults();
    config.database_url = url;
    // A table that is made or not made yet, a column that is there, an index that is gone.
    for (version, undo) in [(1, ""), (60, ""), (60, "DROP TABLE backlog"), (50, ""), (64, "")] {
        let db = Db::open(&config).await.unwrap();
        if !undo.is_empty() {
            run(&db, undo).await;
        }
        mark_interrupted(&db, version).await;
        db.close().await;
        let db = Db::open(&config).await.unwrap();
        run(&db, "INSERT INTO backlog (user_id, message_id) VALUES (1, 1)").await;
        run(&db, "DELETE FROM backlog").await;
        db.close().await;
    }
    // What looks like the first of all may be somebody else's.
    let db = Db::open(&config).await.unwrap();
    run(&db, "ALTER TABLE users RENAME COLUMN username_key TO name").await;
    mark_interrupted(&db, 1).await;
    db.close().await;
    for _ in 0..2 {
        let refused = Db::open(&config).await.unwrap_err().for_log();
        assert!(refused.contains("Table 'users' already exists; the database must be Qingniao's own"), "{refused}");
    }
}

async fn mark_interrupted(db: &Db, version: i64) {
    let mut reader = db.read().await.unwrap();
    let Conn::MySql(c) = reader.conn() else { unreachable!("the URL is MySQL's") };
    let marked = query("UPDATE _sqlx_migrations SET success = FALSE WHERE version = ?").bind(version);
    assert_eq!(marked.execute(c.start()).await.unwrap().rows_affected(), 1);
    c.ended(None);
}

#[tokio::test]
async fn a_schema_of_a_newer_version_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::defaults();
    config.data_dir = folder.path().to_owned();
    config.database_url = database::fresh("qingniao_newer_").await.unwrap_or_default();
    let db = Db::open(&config).await.unwrap();
    run(
        &db,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'later', TRUE, 'x', 0)",
    )
    .await;
    db.close().await;
    let refused = Db::open(&config).await.unwrap_err().for_log();
    assert!(refused.contains("a newer Qingniao has made this schema (migration 9999)"), "{refused}");
}
