//! A server in the test's own process, with a store, files and a clock of its own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use qingniao::app::Shared;
use qingniao::clock::Clock;
use qingniao::config::Config;
use qingniao::db::{Conn, Engine};
use qingniao::lifecycle::Server;
use reqwest::{Client, Method};
use serde_json::Value;
use tempfile::TempDir;

use super::{Call, Reply, database};

/// Where the clock of a test stands at first: 2025-09-04 15:33:20 UTC.
pub const NOW_MS: i64 = 1_757_000_000_000;

/// Ids of users begin here, so that no other row's id is taken for a user's.
pub const FIRST_USER: i64 = 1_000_000;
/// More than rows of users and friends are cached for.
pub const CACHE_MS: i64 = 31_000;
/// Longer than any answer takes, even of a server whose store is away: a call that hangs is to fail the test that made it.
const ANSWERS_WITHIN: Duration = Duration::from_mins(1);

/// A running server. It goes away with the test; `stop` and `restart` are for tests of just that.
pub struct TestServer {
    pub door: Door,
    pub app: Shared,
    /// Where `/metrics` is, if the test's configuration gives it a port.
    pub operations: Option<SocketAddr>,
    server: Server,
    pub config: Config,
    /// Holds `data/` and `public/`.
    pub dir: TempDir,
}

/// How clients reach the server; people hold one.
#[derive(Clone)]
pub struct Door {
    pub address: SocketAddr,
    pub clock: Clock,
    http: Client,
    /// Usernames, ids and uuids of the people, for [`TestServer::redacted`].
    pub(super) names: Arc<Mutex<Vec<(Value, String)>>>,
}

impl std::ops::Deref for TestServer {
    type Target = Door;
    fn deref(&self) -> &Door {
        &self.door
    }
}

impl TestServer {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A server whose configuration `change` has adjusted.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        install_crypto();
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::defaults();
        config.listen = "127.0.0.1:0".parse().unwrap();
        config.data_dir = dir.path().join("data");
        // All the people of a test come from one.
        config.http.connections_per_address_max = config.http.connections_max;
        config.limits.registrations_per_address = usize::MAX;
        // Those whom it concerns take a free port.
        config.operations.address = String::new();
        config.public_dir = dir.path().join("public");
        config.database_url = database::url().await.unwrap_or_default();
        config.database.connections_max = 6;
        config.passwords.memory_kib = 8;
        config.passwords.iterations = 1;
        change(&mut config);
        let clock = Clock::manual(NOW_MS);
        let server = Server::start(config.clone(), clock.clone()).await.expect("the server starts");
        let door = Door { address: server.address, clock, http: client(), names: Arc::default() };
        let operations = server.operations.as_ref().map(|operations| operations.address);
        let server = Self { door, app: server.app.clone(), operations, server, config, dir };
        if server.app.db.engine() == Engine::Sqlite {
            server.sql("INSERT INTO sqlite_sequence (name, seq) VALUES ('users', ?)", &[FIRST_USER.into()]).await;
        }
        server
    }

    /// Moves the clock.
    pub fn advance(&self, by_ms: i64) {
        self.clock.advance(by_ms);
    }

    /// Runs one statement on the store, for what no route can arrange. Returns how many rows it changed.
    ///
    /// Rows of users are cached for half a minute: move the clock by [`CACHE_MS`] to have the change seen.
    pub async fn sql(&self, statement: &'static str, binds: &[Value]) -> u64 {
        let mut tx = self.app.db.begin().await.unwrap();
        let rows = match tx.conn() {
            Conn::MySql(c) => {
                bound(sqlx::query::<sqlx::MySql>(statement), binds).execute(c.start()).await.unwrap().rows_affected()
            }
            Conn::Sqlite(c) => {
                bound(sqlx::query::<sqlx::Sqlite>(statement), binds).execute(c).await.unwrap().rows_affected()
            }
        };
        tx.commit().await.unwrap();
        rows
    }

    /// Changes rows of people and friends by [`Self::sql`], and moves the clock so far that the change is seen.
    pub async fn alter(&self, statement: &'static str, ids: &[i64]) {
        let ids: Vec<Value> = ids.iter().map(|id| Value::from(*id)).collect();
        self.sql(statement, &ids).await;
        self.advance(CACHE_MS);
    }

    /// The one text that a query finds.
    pub async fn sql_text(&self, statement: &'static str, bind: i64) -> String {
        let mut reader = self.app.db.read().await.unwrap();
        match reader.conn() {
            Conn::MySql(c) => sqlx::query_scalar(statement).bind(bind).fetch_one(c.start()).await.unwrap(),
            Conn::Sqlite(c) => sqlx::query_scalar(statement).bind(bind).fetch_one(c).await.unwrap(),
        }
    }

    /// Stops it as a signal would. What is returned can start it again.
    pub async fn stop(self) -> Stopped {
        let Self { door, app, server, mut config, dir, .. } = self;
        drop(app);
        server.stop().await;
        config.listen = door.address;
        Stopped { door, config, dir }
    }

    /// Stops it and starts it again on the same address, store and files.
    pub async fn restart(self) -> Self {
        self.stop().await.start().await
    }
}

/// reqwest wants one for TLS, which no test uses.
fn install_crypto() {
    static CRYPTO: Once = Once::new();
    CRYPTO.call_once(|| {
        rustls::crypto::ring::default_provider().install_default().expect("nothing else installs one");
    });
}

/// Without a proxy: the environment of a test machine may name one.
fn client() -> Client {
    Client::builder().no_proxy().timeout(ANSWERS_WITHIN).build().unwrap()
}

/// Binds texts and whole numbers.
fn bound<'q, DB: sqlx::Database>(
    mut query: sqlx::query::Query<'q, DB, DB::Arguments>,
    binds: &[Value],
) -> sqlx::query::Query<'q, DB, DB::Arguments>
where
    String: sqlx::Encode<'q, DB> + sqlx::Type<DB>,
    i64: sqlx::Encode<'q, DB> + sqlx::Type<DB>,
{
    for bind in binds {
        query = match bind {
            Value::Number(number) => query.bind(number.as_i64().expect("a whole number")),
            Value::String(text) => query.bind(text.clone()),
            other => panic!("only texts and numbers can be bound, not {other}"),
        };
    }
    query
}

/// A server that was stopped, with all that it left.
pub struct Stopped {
    pub door: Door,
    pub config: Config,
    pub dir: TempDir,
}

impl Stopped {
    /// Starts it again.
    pub async fn start(self) -> TestServer {
        let Self { door, config, dir } = self;
        let server = Server::start(config.clone(), door.clock.clone()).await.expect("the server starts again");
        let operations = server.operations.as_ref().map(|operations| operations.address);
        TestServer { door, app: server.app.clone(), operations, server, config, dir }
    }
}

impl Door {
    /// The door of a server elsewhere, which goes by the machine's clock.
    pub fn to(address: SocketAddr) -> Self {
        install_crypto();
        Self { address, clock: Clock::System, http: client(), names: Arc::default() }
    }

    /// A call to a path; one that does not begin with `/` is meant to be under `/api/chat/`.
    pub fn call(&self, method: Method, path: &str) -> Call {
        let prefix = if path.starts_with('/') { "" } else { "/api/chat/" };
        Call::new(&self.http, method, format!("http://{}{prefix}{path}", self.address))
    }

    /// A POST of JSON without a token.
    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.call(Method::POST, path).json(&body).send().await
    }

    /// A GET without a token.
    pub async fn get(&self, path: &str) -> Reply {
        self.call(Method::GET, path).send().await
    }
}
