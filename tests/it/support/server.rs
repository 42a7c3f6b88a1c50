//! A server in the test's own process, with a store, files and a clock of its own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Once};

use qingniao::app::Shared;
use qingniao::clock::Clock;
use qingniao::config::Config;
use qingniao::lifecycle::Server;
use reqwest::{Client, Method};
use serde_json::Value;
use tempfile::TempDir;

use super::{Call, Reply, database};

/// Where the clock of a test stands at first: 2025-09-04 15:33:20 UTC.
pub const NOW_MS: i64 = 1_757_000_000_000;

/// A running server. It goes away with the test; `stop` and `restart` are for tests of just that.
pub struct TestServer {
    pub door: Door,
    pub app: Shared,
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
        static CRYPTO: Once = Once::new();
        CRYPTO.call_once(|| {
            rustls::crypto::ring::default_provider().install_default().expect("nothing else installs one");
        });
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::defaults();
        config.listen = "127.0.0.1:0".parse().unwrap();
        config.data_dir = dir.path().join("data");
        config.public_dir = dir.path().join("public");
        config.database_url = database::url().await.unwrap_or_default();
        config.database.connections_max = 6;
        config.passwords.memory_kib = 8;
        config.passwords.iterations = 1;
        change(&mut config);
        let clock = Clock::manual(NOW_MS);
        let server = Server::start(config.clone(), clock.clone()).await.expect("the server starts");
        // Without a proxy: the environment of a test machine may name one.
        let http = Client::builder().no_proxy().build().unwrap();
        let door = Door { address: server.address, clock, http, names: Arc::default() };
        Self { door, app: server.app.clone(), server, config, dir }
    }

    /// Moves the clock.
    pub fn advance(&self, by_ms: i64) {
        self.clock.advance(by_ms);
    }

    /// Stops it as a signal would. What is returned can start it again.
    pub async fn stop(self) -> Stopped {
        let Self { door, app, server, mut config, dir } = self;
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
        TestServer { door, app: server.app.clone(), server, config, dir }
    }
}

impl Door {
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
