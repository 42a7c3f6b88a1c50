//! From a configuration to a running server, and back to nothing.

use std::fs::File;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::Method;
use futures_util::FutureExt;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::accounts::passwords::Passwords;
use crate::accounts::tokens::Tokens;
use crate::app::{App, Shared};
use crate::blobs::Blobs;
use crate::clock::Clock;
use crate::config::{Config, make_private};
use crate::db::Db;
use crate::error::{AppError, Result};
use crate::http::edge;
use crate::http::meter::Meter;
use crate::http::serve::{Terms, Timeouts};
use crate::http::slots::Places;
use crate::hub::Hub;
use crate::messages::{self, committer::Committer};
use crate::metrics::Metrics;
use crate::operations::Operations;
use crate::{accounts, answers, friends, gateway, groups, http, jobs, media, os, router, visitors};

/// Connections that the kernel keeps while the server is busy: a herd of clients comes back after every restart.
const BACKLOG: u32 = 4096;
/// Bytes that the kernel takes, or a little more, which it cannot send to one peer yet: two bursts of a socket, or two chunks of a file.
const UNSENT_BYTES_MAX: u32 = 128 * 1024;
/// How long a stop waits for running requests and accepted messages.
const GRACE: Duration = Duration::from_secs(2);
/// Rest before a background task that panicked begins again.
const RESTART_REST: Duration = Duration::from_secs(1);
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
            let advice = advice(&cause, "`listen` (QINGNIAO_LISTEN)");
            AppError::internal(format!("cannot listen on {}: {cause}{advice}", config.listen))
        })?;
        let address = listener.local_addr().map_err(AppError::internal)?;
        let for_operations = config.operations_address().map(listen_for_operations).transpose()?;
        let blobs = Blobs::new(&config)?;
        // Also with a bucket: every file comes to the disk first, and covers stay there.
        blobs.disk.try_out().await?;
        let db = Db::open(&config).await?;
        let metrics = Metrics::default();
        let (committer, queue) = Committer::new(&metrics.commits);
        let app = Arc::new(App {
            hub: Hub::new(config.ws.outbox_bytes_max, metrics.overflows.clone()),
            blobs,
            passwords: Passwords::new(&config.passwords)?,
            tokens: Tokens::new(&secret(&config)?),
            accounts: accounts::State::new(&config.limits),
            visitors: visitors::State::new(&config.limits),
            friends: friends::State::default(),
            groups: groups::State::default(),
            answers: answers::State::default(),
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
        app.tasks.spawn(media::start(app.clone()));
        run_always(&app, "upkeep", |app| async move { app.db.run_upkeep(&app.stop).await });
        run_always(&app, "receipts", messages::receipts::run);
        run_always(&app, "backlog", messages::backlog::run);
        run_always(&app, "delivery", messages::delivery::run);
        run_always(&app, "heartbeat", gateway::run_heartbeat);
        run_always(&app, "retention", jobs::retention::run);
        let own = app.clone();
        app.tasks.spawn(async move { serve(listener, &own).await });
        let operations = for_operations.map(|listener| Operations::start(listener, &app));
        let operations = operations.transpose().map_err(AppError::internal)?;
        Ok(Self { address, operations, app })
    }

    /// Returns when the store has forgotten what was committed, and this server must end.
    pub async fn forgotten(&self) -> AppError {
        self.app.messages.forgotten().await
    }

    /// Stops: no new connections, running requests end, accepted messages are stored, sockets are dropped without a
    /// close frame (a close frame would log their users out).
    pub async fn stop(self) {
        self.app.stop.cancel();
        self.app.tasks.close();
        if tokio::time::timeout(GRACE, self.app.tasks.wait()).await.is_err() {
            warn!("some tasks did not end in time and are abandoned; no request among them was acknowledged");
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

/// Runs a background loop until the server stops. One that panics begins again: it tripped over one row or one person, and everybody
/// depends on it.
fn run_always<W: Future<Output = ()> + Send + 'static>(
    app: &Shared,
    name: &'static str,
    begin: impl Fn(Shared) -> W + Send + 'static,
) {
    let (own, stop) = (app.clone(), app.stop.clone());
    app.tasks.spawn(repeated(name, RESTART_REST, stop, move || begin(own.clone())));
}

async fn repeated<W: Future<Output = ()>>(
    name: &'static str,
    rest: Duration,
    stop: CancellationToken,
    begin: impl Fn() -> W,
) {
    while AssertUnwindSafe(begin()).catch_unwind().await.is_err() {
        error!(task = name, "a background task panicked; it begins again");
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Answers the chat's clients until the server stops.
async fn serve(listener: TcpListener, app: &Shared) {
    let http = &app.config.http;
    let time_max = Duration::from_secs(http.request_timeout_s);
    let table = router::table();
    let meter = Arc::new(Meter::new(app.metrics.registry(), table.templates()));
    let routes = table.router(app.clone());
    let (preflights, routes) = (router::preflights(routes.clone()), router::service(routes));
    let answer = move |request: Request| {
        let (preflights, routes, meter) = (preflights.clone(), routes.clone(), meter.clone());
        async move {
            if request.method() == Method::OPTIONS {
                return Box::pin(edge::respond(preflights, request, time_max, &meter)).await;
            }
            edge::respond(routes, request, time_max, &meter).await
        }
    };
    let terms = Terms {
        places: Places {
            all: http.connections_max,
            by_network: http.connections_per_address_max,
            exempt: http.trusted_proxies.clone(),
            bodies_bytes: http.bodies_bytes_max,
            body_bytes: http.body_bytes_max,
        },
        timeouts: Timeouts {
            idle: Duration::from_secs(http.idle_timeout_s),
            head: Duration::from_secs(http.header_timeout_s),
            stall: Duration::from_secs(http.stall_timeout_s),
        },
        counts: app.metrics.connections.clone(),
    };
    http::serve::serve(listener, answer, terms, &app.tasks, app.stop.clone()).await;
}

fn listen_for_operations(address: SocketAddr) -> Result<TcpListener> {
    listen(address).map_err(|cause| {
        let advice = advice(&cause, "`operations.address` (QINGNIAO_OPERATIONS_ADDRESS)");
        AppError::internal(format!(
            "cannot listen on {address} for /healthz, /readyz and /metrics: {cause}{advice}, or \"\" to switch it off"
        ))
    })
}

/// What to do about an address that cannot be listened on.
fn advice(cause: &std::io::Error, key: &str) -> String {
    match cause.kind() {
        std::io::ErrorKind::AddrInUse => format!(": another program has it; give key {key} another port"),
        _ if os::is_out_of_files(cause) => "; raise the limit of open files".to_owned(),
        _ => format!("; give key {key} another address or another port"),
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    os::keep_port(&socket)?;
    // What comes in at it has the same bound, until it becomes a WebSocket.
    if let Err(cause) = os::bound_unsent(&socket, UNSENT_BYTES_MAX) {
        warn!(%cause, "replies that nobody reads take as much of the system's memory as it lets them");
    }
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
    make_private(&config.data_dir).map_err(|cause| {
        let folder = config.data_dir.display();
        AppError::internal(format!("{folder} cannot be made (key `data_dir`, QINGNIAO_DATA_DIR): {cause}"))
    })?;
    let secret = format!("{}{}", crate::ids::uuid(), crate::ids::uuid());
    write_private(&path, &secret).map_err(|cause| {
        let path = path.display();
        AppError::internal(format!(
            "the token secret cannot be kept in {path} (key `data_dir`, QINGNIAO_DATA_DIR): {cause}"
        ))
    })?;
    info!("a token secret was made in {}; keep it, or everybody must log in again", path.display());
    Ok(secret)
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    let mut file = os::private_file(&mut File::options()).write(true).create_new(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn what_to_do_about_an_address_depends_on_what_is_wrong() {
        let of = |cause| advice(&cause, "`listen`");
        assert!(of(ErrorKind::AddrInUse.into()).contains("another program has it"));
        assert!(of(ErrorKind::AddrNotAvailable.into()).contains("key `listen` another address"));
        assert!(of(os::out_of_files()).contains("limit of open files"));
    }

    #[tokio::test]
    async fn a_background_task_that_panics_begins_again_until_the_stop() {
        let (times, stop) = (AtomicU32::new(0), CancellationToken::new());
        let begin = || async { assert!(times.fetch_add(1, Ordering::Relaxed) == 2, "on purpose") };
        repeated("test", Duration::ZERO, stop.clone(), begin).await;
        assert_eq!(times.load(Ordering::Relaxed), 3);
        stop.cancel();
        repeated("test", Duration::from_hours(1), stop, begin).await;
        assert_eq!(times.load(Ordering::Relaxed), 4, "it ends with the server");
    }
}
