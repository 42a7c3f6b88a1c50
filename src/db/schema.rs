//! Brings the schema up to date, also after a start that was killed in the middle of it.
//!
//! Each migration is one statement. SQLite takes it back with its transaction. MySQL commits before and after every change of the
//! schema, so that a kill may leave the mark of a migration that has begun; the change itself is done wholly or not at all.

use sqlx::migrate::{Migrate, MigrateError, Migration, Migrator};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{Connection, MySqlConnection, SqliteConnection};
use tracing::{info, warn};

use super::error::{advice, mysql_number};
use super::open::reach;
use crate::error::{AppError, Result};

static MYSQL: Migrator = sqlx::migrate!("migrations/mysql");
static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");

/// Where sqlx keeps which migrations are done.
const TABLE: &str = "_sqlx_migrations";
/// "Table exists".
const MYSQL_TABLE_EXISTS: u16 = 1050;
/// What MySQL says if a change of the schema is done already: table, column or index exists; table, column or index is gone.
const MYSQL_DONE: [u16; 5] = [MYSQL_TABLE_EXISTS, 1060, 1061, 1051, 1091];

pub(super) async fn migrate_sqlite(conn: &mut SqliteConnection) -> Result<()> {
    announce(&SQLITE, conn).await.map_err(told)?;
    SQLITE.run(conn).await.map_err(told)
}

pub(super) async fn migrate_mysql(options: &MySqlConnectOptions) -> Result<()> {
    // A connection of its own: the migrator's lock stays with it if a migration fails.
    let mut conn = reach(options).await?;
    let migrated = run_mysql(&mut conn).await.map_err(told);
    // Whatever became of the connection says less than what became of the migrations.
    let _ = conn.close().await;
    migrated
}

async fn run_mysql(conn: &mut MySqlConnection) -> Result<(), MigrateError> {
    announce(&MYSQL, conn).await?;
    loop {
        match MYSQL.run(&mut *conn).await {
            Err(MigrateError::Dirty(version)) => resume(conn, version).await?,
            Err(MigrateError::ExecuteMigration(cause, version)) => {
                // It changed nothing, so that the next start may try it again.
                if let Err(cause) = unmark(conn, version).await {
                    warn!(%cause, "migration {version} failed, and its mark stays; the next start sees to it");
                }
                return Err(MigrateError::ExecuteMigration(cause, version));
            }
            done => return done,
        }
    }
}

/// Says what an existing store is about to get: on a large table it takes minutes, and nothing is served meanwhile.
async fn announce(migrator: &Migrator, conn: &mut impl Migrate) -> Result<(), MigrateError> {
    conn.ensure_migrations_table(TABLE).await?;
    let applied = conn.list_applied_migrations(TABLE).await?;
    let is_applied = |migration: &Migration| applied.iter().any(|done| done.version == migration.version);
    let pending = migrator.iter().filter(|migration| !is_applied(migration)).count();
    if !applied.is_empty() && pending > 0 {
        info!(
            "applying {pending} schema migrations; on a large table this can take minutes, and nothing is served meanwhile"
        );
    }
    Ok(())
}

/// Ends a migration that a killed start has begun. `conn` has the migrator's lock: nobody is at it any more.
async fn resume(conn: &mut MySqlConnection, version: i64) -> Result<(), MigrateError> {
    let migration = MYSQL.iter().find(|migration| migration.version == version);
    let migration = migration.ok_or(MigrateError::VersionMissing(version))?;
    warn!("migration {version} was interrupted; running it again");
    unmark(conn, version).await?;
    match conn.apply(TABLE, migration).await {
        Ok(_) => Ok(()),
        Err(MigrateError::ExecuteMigration(cause, _)) if is_done(&cause) && is_ours(conn).await => {
            unmark(conn, version).await?;
            conn.skip(TABLE, migration).await
        }
        Err(cause) => {
            unmark(conn, version).await?;
            Err(cause)
        }
    }
}

async fn unmark(conn: &mut MySqlConnection, version: i64) -> Result<(), MigrateError> {
    let unmarked = sqlx::query("DELETE FROM _sqlx_migrations WHERE version = ? AND success = FALSE").bind(version);
    unmarked.execute(conn).await?;
    Ok(())
}

/// Whether the table that the first migration makes is Qingniao's: another program's `users` has no such columns.
async fn is_ours(conn: &mut MySqlConnection) -> bool {
    let looked = sqlx::query("SELECT username_key, invite_confirm, is_deleted FROM users WHERE id = 0");
    looked.execute(conn).await.is_ok()
}

fn is_done(cause: &sqlx::Error) -> bool {
    mysql_number(cause).is_some_and(|number| MYSQL_DONE.contains(&number))
}

/// In words that say what to do.
fn told(error: MigrateError) -> AppError {
    AppError::internal(match error {
        MigrateError::VersionMissing(version) => {
            format!("a newer Qingniao has made this schema (migration {version}): start that one, or restore a backup")
        }
        MigrateError::ExecuteMigration(cause, version) if mysql_number(&cause) == Some(MYSQL_TABLE_EXISTS) => {
            format!("migration {version}: {cause}; the database must be Qingniao's own, and empty at the first start")
        }
        MigrateError::ExecuteMigration(cause, version) => format!("migration {version}: {cause}{}", advice(&cause)),
        MigrateError::Execute(cause) => format!("{cause}{}", advice(&cause)),
        other => other.to_string(),
    })
}
