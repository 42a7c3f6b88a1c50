//! From a configuration to a running server, and back to nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::Method;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::accounts::passwords::Passwords;
use crate::accounts::tokens::Tokens;
use crate::app::{App, Shared};
use crate::blobs::Blobs;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::Db;
use crate::error::{AppError, Result};
use crate::http::edge::{self, Bounds};
use crate::http::meter::Meter;
use crate::http::serve::{Terms, Timeouts};
use crate::http::slots::Places;
use crate::hub::Hub;
use crate::messages::{self, committer::Committer};
use crate::metrics::Metrics;
use crate::operations::Operations;
use crate::{accounts, friends, gateway, groups, http, jobs, media, router, visitors};

/// Connections that the kernel keeps while the server is busy: a herd of clients comes back after every restart.
const BACKLOG: u32 = 4096;
/// How long a stop waits for running requests and accepted messages.
const GRACE: Duration = Duration::from_secs(2);
/// How long a stop waits for the store.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// A server that is listening.
#[derive(Debug)]
pub struct Server {
    /// Where.
    pub address: SocketAddr,
    /// Where operators' tools are answered, if they are.
    pub operations: Option<Operations>,
    /// Its state, for tests.
    pub app: Shared,
}

impl Server {
    /// Opens the store, starts the background work and listens.
    pub async fn start(config: Config, clock: Clock) -> Result<Self> {
        let listener = listen(config.listen).map_err(|cause| {
            AppError::internal(format!("cannot listen on {} (key `listen`, QINGNIAO_LISTEN): {cause}", config.listen))
        })?;
        let address = listener.local_addr().map_err(AppError::internal)?;
        let for_operations = config.operations_address().map(listen_for_operations).transpose()?;
        let db = Db::open(&config).await?;
        let metrics = Metrics::default();
        let (committer, queue) = Committer::new(&metrics.commits);
        let app = Arc::new(App {
            hub: Hub::new(config.ws.outbox_bytes_max, metrics.overflows.clone()),
            blobs: Blobs::new(&config)?,
            passwords: Passwords::new(&config.passwords)?,
            tokens: Tokens::new(&secret(&config)?),
            accounts: accounts::State::new(&config.limits),
            visitors: visitors::State::new(&config.limits),
            friends: friends::State::default(),
            groups: groups::State::default(),
            media: media::State::new(&config)?,
            messages: messages::State::new(committer),
            gateway: gateway::State::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            config,
            clock,
            db,
            metrics,
        });
        app.tasks.spawn(messages::committer::run(app.clone(), queue));
        let own = app.clone();
        app.tasks.spawn(async move { own.db.run_checkpoints(&own.stop).await });
        app.tasks.spawn(messages::receipts::run(app.clone()));
        app.tasks.spawn(messages::backlog::run(app.clone()));
        app.tasks.spawn(messages::delivery::run(app.clone()));
        app.tasks.spawn(gateway::run_heartbeat(app.clone()));
        app.tasks.spawn(media::start(app.clone()));
        app.tasks.spawn(jobs::retention::run(app.clone()));
        let own = app.clone();
        app.tasks.spawn(async move { serve(listener, &own).await });
        let operations = for_operations.map(|listener| Operations::start(listener, &app));
        let operations = operations.transpose().map_err(AppError::internal)?;
        Ok(Self { address, operations, app })
    }

    /// Stops: no new connections, running requests end, accepted messages are stored, sockets are dropped without a
    /// close frame (a close frame would log their users out).
    pub async fn stop(self) {
        self.app.stop.cancel();
        self.app.tasks.close();
        if tokio::time::timeout(GRACE, self.app.tasks.wait()).await.is_err() {
            warn!("some requests did not end in time and were dropped; none of them was acknowledged");
        }
        let end = async {
            // Pongs came until the last socket was dropped. What cannot be written now is pushed again after the start.
            let _ = messages::receipts::flush(&self.app).await;
            self.app.db.close().await;
        };
        if tokio::time::timeout(CLOSE_GRACE, end).await.is_err() {
            warn!("the store did not close in time; everything acknowledged is in it");
        }
        if let Some(operations) = self.operations {
            operations.stop();
        }
    }
}

/// Answers the chat's clients until the server stops.
async fn serve(listener: TcpListener, app: &Shared) {
    let http = &app.config.http;
    let bounds =
        Bounds { body_bytes_max: http.body_bytes_max, request_timeout: Duration::from_secs(http.request_timeout_s) };
    let table = router::table();
    let meter = Arc::new(Meter::new(app.metrics.registry(), table.templates()));
    let routes = table.router(app.clone());
    let (preflights, routes) = (router::preflights(routes.clone()), router::service(routes));
    let answer = move |request: Request| {
        let (preflights, routes, meter) = (preflights.clone(), routes.clone(), meter.clone());
        async move {
            if request.method() == Method::OPTIONS {
                return Box::pin(edge::respond(preflights, request, bounds, &meter)).await;
            }
            edge::respond(routes, request, bounds, &meter).await
        }
    };
    let terms = Terms {
        places: Places {
            all: http.connections_max,
            by_network: http.connections_per_address_max,
            exempt: http.trusted_proxies.clone(),
            bodies_bytes: http.bodies_bytes_max,
        },
        timeouts: Timeouts {
            idle: Duration::from_secs(http.idle_timeout_s),
            head: Duration::from_secs(http.header_timeout_s),
            stall: Duration::from_secs(http.stall_timeout_s),
        },
        bounds,
        counts: app.metrics.connections.clone(),
    };
    http::serve::serve(listener, answer, terms, &app.tasks, app.stop.clone()).await;
}

fn listen_for_operations(address: SocketAddr) -> Result<TcpListener> {
    listen(address).map_err(|cause| {
        AppError::internal(format!(
            "cannot listen on {address} for /healthz, /readyz and /metrics: {cause}; give key `operations.address` \
             (QINGNIAO_OPERATIONS_ADDRESS) another port, or \"\" to switch it off"
        ))
    })
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The operator's secret, or one that is made at the first start and kept beside the database (decision 10).
fn secret(config: &Config) -> Result<String> {
    if !config.jwt_secret.is_empty() {
        return Ok(config.jwt_secret.clone());
    }
    let path = config.data_dir.join("jwt_secret");
    let kept = |path: &Path| std::fs::read_to_string(path).map(|text| text.trim().to_owned());
    match kept(&path) {
        Ok(secret) if secret.len() >= 16 => return Ok(secret),
        Ok(_) => {
            return Err(AppError::internal(format!("{} is too short; delete it to have one made", path.display())));
        }
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {}
        Err(cause) => return Err(AppError::internal(format!("{} cannot be read: {cause}", path.display()))),
    }
    std::fs::create_dir_all(&config.data_dir).map_err(AppError::internal)?;
    let secret = format!("{}{}", crate::ids::uuid(), crate::ids::uuid());
    write_private(&path, &secret).map_err(|cause| {
        AppError::internal(format!("the token secret cannot be kept in {}: {cause}", path.display()))
    })?;
    info!("a token secret was made in {}; keep it, or everybody must log in again", path.display());
    Ok(secret)
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
