//! The `/ws` endpoint (contract: messaging §2): handshake, welcome, menu cards, heartbeat, and the connection task that
//! writes what the hub queues and confirms what the peer has proved to have.

mod cards;
mod connection;
mod heartbeat;
mod wire;

use std::sync::Arc;

use axum::extract::{self, Request};
use axum::response::Response;
pub use heartbeat::run as run_heartbeat;
use hyper::upgrade::OnUpgrade;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{debug, warn};
use wire::Wire;

use crate::accounts::Role;
use crate::accounts::service::{self as accounts, Bearer, Rejection};
use crate::app::{App, Shared};
use crate::error::{AppError, Result};
use crate::http::edge::query_token;
use crate::http::serve::Origin;
use crate::hub::{Frame, Ticket};

/// Sockets that prepare their first frames at the same time. A herd of clients after a restart queues here, with next to
/// nothing in memory, and not in front of the store.
const OPENING_MAX: usize = 64;

/// What this feature keeps in memory.
#[derive(Debug)]
pub struct State {
    opening: Semaphore,
}

impl Default for State {
    fn default() -> Self {
        Self { opening: Semaphore::new(OPENING_MAX) }
    }
}

/// `GET /ws?token=`. The upgrade is always accepted, failures follow as a frame: a refused upgrade would make the client
/// retry for ever, ever faster (decision 12).
pub async fn connect(extract::State(app): extract::State<Shared>, mut request: Request) -> Result<Response> {
    let token = query_token(request.uri().query());
    let slot = request.extensions_mut().remove::<Origin>().map(|origin| origin.slot);
    let (response, upgrade) = wire::accept(&mut request).ok_or_else(|| AppError::refused("请使用 WebSocket 连接"))?;
    let own = app.clone();
    own.tasks.spawn(async move {
        // Boxed apart: what a socket needs while it opens would otherwise stay with it for life.
        match Box::pin(open_wire(upgrade)).await {
            Ok(wire) => Box::pin(serve(app, wire, token)).await,
            Err(cause) => debug!(%cause, "a socket broke off while it opened"),
        }
        drop(slot);
    });
    Ok(response)
}

async fn open_wire(upgrade: OnUpgrade) -> std::io::Result<Wire> {
    Wire::new(upgrade.await.map_err(std::io::Error::other)?).await
}

async fn serve(app: Arc<App>, mut wire: Wire, token: Option<String>) {
    let opened = tokio::select! {
        opened = Box::pin(open(&app, token.as_deref())) => opened,
        () = app.stop.cancelled() => return,
    };
    drop(token);
    let (bearer, greeting) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(text)) => return Box::pin(fail(&mut wire, text)).await,
        Err(cause) => {
            // The store is away: drop TCP without a close frame, so that the client comes back.
            warn!(%cause, "a socket could not be opened; its client will retry");
            return;
        }
    };
    let ticket = Ticket { registered: bearer.role == Role::User, token_id: bearer.token_id.into() };
    let session = app.hub.register(bearer.user.id, ticket, greeting);
    drop(bearer.user);
    debug!(user.id = %session.user, session.id, "a socket opened");
    let ended = connection::run(&app, &mut wire, &session).await;
    debug!(user.id = %session.user, session.id, ?ended, "a socket ended");
    app.hub.unregister(&session);
}

/// Checks the token and prepares the first frames, or says why not.
async fn open(app: &App, token: Option<&str>) -> Result<Result<(Bearer, Vec<Frame>), &'static str>> {
    let Some(token) = token else { return Ok(Err("缺少 token 参数")) };
    let _turn = app.gateway.opening.acquire().await.expect("the semaphore is never closed");
    let bearer = match accounts::authenticate(app, token).await? {
        Ok(bearer) => bearer,
        Err(Rejection::Token) => return Ok(Err("Token 不合法")),
        Err(Rejection::Missing) => return Ok(Err("用户不存在")),
        Err(Rejection::Disabled) => return Ok(Err("你已被管理员禁用")),
    };
    let greeting = cards::greeting(app, &bearer).await?;
    Ok(Ok((bearer, greeting)))
}

/// Tells the client what is wrong and closes without a code.
async fn fail(wire: &mut Wire, text: &str) {
    let frame = serde_json::json!({ "msg": "fail", "data": text }).to_string();
    let told = async {
        if wire.write(&[Frame::text(&[frame.as_bytes()])], None).await.is_ok() {
            wire.close(None).await;
        }
    };
    // A peer that does not take it, or does not answer the close frame, is dropped all the same.
    let _ = timeout(connection::CLOSE_WAIT, told).await;
}
