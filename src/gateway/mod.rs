//! The `/ws` endpoint (contract: messaging §2): handshake, welcome, menu cards, heartbeat, and the connection task that
//! writes what the hub queues and confirms what the peer has proved to have.

mod cards;
mod connection;
pub mod describe;
mod heartbeat;
mod pings;
pub mod signal;
pub mod wire;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{self, Request};
use axum::response::Response;
pub use connection::ClientFrame;
use connection::Ended;
pub use heartbeat::run as run_heartbeat;
use hyper::upgrade::OnUpgrade;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{debug, warn};
use wire::Wire;

use crate::accounts::Role;
use crate::accounts::auth::ClientAddress;
use crate::accounts::service::{self as accounts, Bearer, Rejection};
use crate::app::{App, Shared};
use crate::db::in_time;
use crate::error::{AppError, Result};
use crate::http::edge::query_token;
use crate::http::network::bounded_network;
use crate::http::origin::Origin;
use crate::hub::{Frame, Socket, Ticket};
use crate::limits::Seldom;

/// Sockets that prepare their first frames at the same time. A herd of clients after a restart queues here, with next to
/// nothing in memory, and not in front of the store.
const OPENING_MAX: usize = 64;
/// Longest message that a client may send, in bytes: it has nothing to say beyond a ping and its token, and what has come of a message
/// stays in memory until the rest does.
const CLIENT_MESSAGE_MAX: usize = 4 * 1024;
/// How long a closed peer may take to answer the close frame.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// What this feature keeps in memory.
#[derive(Debug)]
pub struct State {
    opening: Semaphore,
    /// That the store is away, which each of a herd would say.
    told: Seldom,
}

impl Default for State {
    fn default() -> Self {
        Self { opening: Semaphore::new(OPENING_MAX), told: Seldom::default() }
    }
}

/// `GET /ws?token=`. The upgrade is always accepted, failures follow as a frame: a refused upgrade would make the client
/// retry for ever, ever faster (decision 12).
pub async fn connect(
    extract::State(app): extract::State<Shared>,
    ClientAddress(ip): ClientAddress,
    mut request: Request,
) -> Result<Response> {
    let (token, network) = (query_token(request.uri().query()), bounded_network(ip));
    let slot = request.extensions_mut().remove::<Origin>().map(|origin| origin.slot);
    let (response, upgrade) = wire::accept(&mut request).ok_or_else(|| AppError::refused("请使用 WebSocket 连接"))?;
    let own = app.clone();
    app.metrics.sockets.opening.inc();
    let caller = Caller { token, network, opened_at: Instant::now() };
    own.tasks.spawn(async move {
        // Boxed apart: what a socket needs while it opens would otherwise stay with it for life.
        match Box::pin(open_wire(upgrade)).await {
            Ok(wire) => Box::pin(serve(app, wire, caller)).await,
            Err(cause) => {
                app.metrics.sockets.opening.dec();
                app.metrics.sockets.failed.inc();
                debug!(%cause, "a socket broke off while it opened");
            }
        }
        drop(slot);
    });
    Ok(response)
}

/// Who opens a socket.
struct Caller {
    token: Option<String>,
    network: Option<IpAddr>,
    opened_at: Instant,
}

/// Boxed, because each task that it passes through would keep a place of its size.
async fn open_wire(upgrade: OnUpgrade) -> std::io::Result<Box<Wire>> {
    Wire::new(upgrade.await.map_err(std::io::Error::other)?, CLIENT_MESSAGE_MAX).await.map(Box::new)
}

async fn serve(app: Arc<App>, mut wire: Box<Wire>, caller: Caller) {
    let opened = tokio::select! {
        biased;
        () = app.stop.cancelled() => None,
        opened = Box::pin(register(&app, &mut wire, &caller)) => opened,
    };
    drop(caller);
    app.metrics.sockets.opening.dec();
    let Some(registration) = opened else { return };
    app.metrics.sockets.opened.inc();
    let socket = &registration.socket;
    debug!(user.id = %socket.user, socket.id, "a socket opened");
    let ended = connection::run(&app, &mut wire, socket).await;
    count(&app, ended);
    debug!(user.id = %socket.user, socket.id, ?ended, "a socket ended");
}

fn count(app: &App, ended: Ended) {
    let counts = &app.metrics.sockets;
    match ended {
        Ended::ByPeer => counts.goodbye.inc(),
        Ended::Lost => counts.lost.inc(),
        Ended::Unanswered => counts.unanswered.inc(),
        Ended::Stalled => counts.stalled.inc(),
        Ended::Superseded => counts.superseded.inc(),
        Ended::ByServer => counts.stopped.inc(),
    }
}

/// A place in the hub, which is given up whatever ends the connection.
struct Registration<'a> {
    app: &'a App,
    socket: Arc<Socket>,
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.app.hub.unregister(&self.socket);
    }
}

/// Registers the socket, or tells the client what is wrong.
async fn register<'a>(app: &'a App, wire: &mut Wire, caller: &Caller) -> Option<Registration<'a>> {
    match open(app, caller).await {
        Ok(Ok(registration)) => Some(registration),
        Ok(Err(refused)) => {
            app.metrics.sockets.refused.inc();
            fail(wire, refused).await;
            None
        }
        Err(cause) => {
            app.metrics.sockets.failed.inc();
            // The store is away: drop TCP without a close frame, so that the client comes back.
            if app.gateway.told.is_due() {
                warn!(
                    cause = cause.for_log(),
                    "a socket could not be opened; its client will retry (said once a minute)"
                );
            }
            None
        }
    }
}

/// Checks the token, prepares the first frames and registers the socket, or says why not.
async fn open<'a>(app: &'a App, caller: &Caller) -> Result<Result<Registration<'a>, &'static str>> {
    let Some(token) = &caller.token else { return Ok(Err("缺少 token 参数")) };
    let _turn = app.gateway.opening.acquire().await.expect("the semaphore is never closed");
    in_time(open_with(app, token, caller)).await
}

async fn open_with<'a>(app: &'a App, token: &str, caller: &Caller) -> Result<Result<Registration<'a>, &'static str>> {
    let bearer = match check(app, token).await? {
        Ok(bearer) => bearer,
        Err(refused) => return Ok(Err(refused)),
    };
    let greeting = cards::greeting(app, &bearer).await?;
    let ticket = Ticket {
        registered: bearer.role == Role::User,
        former: bearer.former,
        token_id: bearer.token_id.into(),
        answers_pings: bearer.answers_pings,
        opened_at: caller.opened_at,
        network: caller.network,
    };
    let socket = app.hub.register(bearer.user.id, ticket, greeting);
    let registration = Registration { app, socket };
    // Whoever ends a token looks for its sockets after that; one that registers meanwhile must look for itself.
    Ok(check(app, token).await?.map(|bearer| {
        if bearer.former {
            app.hub.end_pushes(bearer.user.id, None, &|ticket| *ticket.token_id != *bearer.token_id);
        }
        registration
    }))
}

async fn check(app: &App, token: &str) -> Result<Result<Bearer, &'static str>> {
    Ok(accounts::authenticate(app, token).await?.map_err(|rejection| match rejection {
        Rejection::Token => "Token 不合法",
        Rejection::Missing => "用户不存在",
        Rejection::Disabled => "你已被管理员禁用",
    }))
}

/// Tells the client what is wrong and closes without a code.
async fn fail(wire: &mut Wire, text: &str) {
    let frame = serde_json::json!({ "msg": "fail", "data": text }).to_string();
    let told = async {
        wire.write(&[Frame::text(&[frame.as_bytes()])]).await?;
        wire.close(None).await?;
        while let Some(Ok(_)) = wire.recv().await {}
        Ok::<_, std::io::Error>(())
    };
    // A peer that does not take it, or does not answer the close frame, is dropped all the same.
    let _ = timeout(CLOSE_WAIT, told).await;
}
