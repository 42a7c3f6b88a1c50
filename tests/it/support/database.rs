//! The MySQL database of a test run: one for the process, made at the first use; and accounts that a test may bound and change. Those of
//! dead processes are dropped.

use std::path::Path;

use qingniao::config::Config;
use qingniao::db::Db;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor, MySqlConnection, Row};
use tokio::sync::OnceCell;

use super::server::FIRST_USER;
use super::skip;

const PREFIX: &str = "qingniao_test_";

/// The engine's address without a database, if the run is to use MySQL.
pub fn mysql_server() -> Option<String> {
    let url = std::env::var("QINGNIAO_TEST_DATABASE_URL").ok()?;
    Some(url.trim_end_matches('/').to_owned()).filter(|url| !url.is_empty())
}

/// The URL of this process's database; says that the test is skipped if the run is not to use MySQL.
pub async fn mysql_url() -> Option<String> {
    let url = url().await;
    if url.is_none() {
        skip("it needs MySQL or MariaDB: set QINGNIAO_TEST_DATABASE_URL=mysql://root@127.0.0.1:3306");
    }
    url
}

/// The URL of this process's database, made and migrated once; `None` means SQLite.
pub async fn url() -> Option<String> {
    static MADE: OnceCell<String> = OnceCell::const_new();
    let server = mysql_server()?;
    Some(MADE.get_or_init(|| make(server, PREFIX)).await.clone())
}

/// The URL of a new database of this process's, migrated, for a test that fills tables; `None` means SQLite. Its name is
/// the prefix and the process's id; those of dead processes are dropped.
pub async fn fresh(prefix: &str) -> Option<String> {
    Some(make(mysql_server()?, prefix).await)
}

/// The URL of a new database of this process's with nothing in it; `None` if the run is not to use MySQL. Named as that of [`fresh`].
pub async fn empty(prefix: &str) -> Option<String> {
    let server = mysql_server()?;
    Some(format!("{server}/{}", create(&server, prefix).await))
}

/// An account at MySQL for one test, which may do all with this process's database.
pub struct Account {
    root: MySqlConnection,
    name: String,
    database: String,
    /// The server's `database_url`, by which it has this account.
    pub url: String,
}

impl Account {
    /// A new one; `None`, said loudly, if the run is not to use MySQL.
    pub async fn new() -> Option<Self> {
        let url = mysql_url().await?;
        let (_, place) = url.rsplit_once('@').expect("QINGNIAO_TEST_DATABASE_URL names a user");
        let (_, database) = place.split_once('/').expect("the URL of a database");
        let mut root = connect(&mysql_server()?).await;
        let rows = root.fetch_all("SELECT CONVERT(User USING utf8mb4) FROM mysql.user").await.unwrap();
        let stale = rows.iter().map(|row| row.get::<String, _>(0)).filter(|name| is_stale(name, PREFIX));
        let name = format!("{PREFIX}{}_{:08x}", std::process::id(), rand::random::<u32>());
        // MySQL counts the connections of an account that has a bound, and no others.
        let bounds = "WITH MAX_USER_CONNECTIONS 1000";
        let statements: Vec<String> = stale
            .map(|name| format!("DROP USER IF EXISTS '{name}'@'%'"))
            .chain([
                format!("CREATE USER '{name}'@'%' IDENTIFIED BY 'first' {bounds}"),
                format!("GRANT ALL ON `{database}`.* TO '{name}'@'%'"),
            ])
            .collect();
        for statement in statements {
            root.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
        }
        let url = format!("mysql://{name}:first@{place}");
        Some(Self { root, name, database: database.to_owned(), url })
    }

    /// Changes it as `ALTER USER` does, for connections that are yet to come.
    pub async fn alter(&mut self, change: &str) {
        let statement = format!("ALTER USER '{}'@'%' {change}", self.name);
        self.root.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
    }

    /// Takes all its rights and gives it these, if any, on this process's database.
    pub async fn leave(&mut self, rights: Option<&str>) {
        let Self { name, database, .. } = self;
        let taken = format!("REVOKE ALL PRIVILEGES, GRANT OPTION FROM '{name}'@'%'");
        let given = rights.map(|rights| format!("GRANT {rights} ON `{database}`.* TO '{name}'@'%'"));
        for statement in [taken].into_iter().chain(given) {
            self.root.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
        }
    }

    /// Takes it away.
    pub async fn remove(mut self) {
        let statement = format!("DROP USER '{}'@'%'", self.name);
        self.root.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
        self.root.close().await.unwrap();
    }
}

async fn connect(server: &str) -> MySqlConnection {
    let options: MySqlConnectOptions = server.parse().expect("QINGNIAO_TEST_DATABASE_URL is a URL");
    options.connect().await.expect("the server of QINGNIAO_TEST_DATABASE_URL answers")
}

/// Whether something is named after a process that is dead: its id follows the prefix.
fn is_stale(name: &str, prefix: &str) -> bool {
    let pid = name.strip_prefix(prefix).and_then(|rest| rest.split('_').next()?.parse::<u32>().ok());
    pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
}

/// A new database, with nothing in it. Returns its name.
async fn create(server: &str, prefix: &str) -> String {
    let mut connection = connect(server).await;
    let rows = connection.fetch_all("SHOW DATABASES").await.unwrap();
    let stale = rows.iter().map(|row| row.get::<String, _>(0)).filter(|name| is_stale(name, prefix));
    let name = format!("{prefix}{}", std::process::id());
    let statements: Vec<String> = stale
        .map(|name| format!("DROP DATABASE IF EXISTS `{name}`"))
        .chain([
            format!("DROP DATABASE IF EXISTS `{name}`"),
            format!("CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"),
        ])
        .collect();
    for statement in statements {
        connection.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
    }
    connection.close().await.unwrap();
    name
}

async fn make(server: String, prefix: &str) -> String {
    let name = create(&server, prefix).await;
    let mut config = Config::defaults();
    config.database_url = format!("{server}/{name}");
    Db::open(&config).await.expect("the schema can be made").close().await;
    let mut connection = config.database_url.parse::<MySqlConnectOptions>().unwrap().connect().await.unwrap();
    let first = format!("ALTER TABLE users AUTO_INCREMENT = {FIRST_USER}");
    connection.execute(sqlx::AssertSqlSafe(first)).await.unwrap();
    connection.close().await.unwrap();
    config.database_url
}
