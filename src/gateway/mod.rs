//! The `/ws` endpoint (contract: messaging §2): handshake, welcome, menu cards, heartbeat, and the connection task that
//! writes what the hub queues and confirms what the peer has proved to have.

mod cards;
mod connection;
mod heartbeat;

use std::sync::Arc;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Request, State};
use axum::response::Response;
pub use heartbeat::run as run_heartbeat;
use tracing::{debug, warn};

use crate::accounts::Role;
use crate::accounts::auth::query_token;
use crate::accounts::service::{self as accounts, Bearer, Rejection};
use crate::app::{App, Shared};
use crate::error::{AppError, Result};
use crate::http::serve::Slot;
use crate::hub::Ticket;

/// tungstenite fills its read buffer as soon as a socket opens, so each idle socket costs this much. Clients send next to
/// nothing.
const READ_BUFFER: usize = 512;
/// Frames gather up to this before they are written, so that a burst costs few system calls.
const WRITE_BUFFER: usize = 16 * 1024;
/// A frame never exceeds what an HTTP body may hold, plus its envelope; beyond it tungstenite gives up on the peer.
const WRITE_BUFFER_MAX: usize = 4 * 1024 * 1024;
/// Largest frame that a client may send: it has nothing to say beyond a ping.
const CLIENT_FRAME_MAX: usize = 64 * 1024;

/// `GET /ws?token=`. The upgrade is always accepted, failures follow as a frame: a refused upgrade would make the client
/// retry for ever, ever faster (decision 12).
pub async fn connect(State(app): State<Shared>, mut request: Request) -> Result<Response> {
    let token = query_token(request.uri().query());
    let slot = request.extensions_mut().remove::<Slot>();
    let (mut parts, _) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &app)
        .await
        .map_err(|_| AppError::refused("请使用 WebSocket 连接"))?;
    Ok(upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(WRITE_BUFFER_MAX)
        .max_message_size(CLIENT_FRAME_MAX)
        .max_frame_size(CLIENT_FRAME_MAX)
        .on_upgrade(move |socket| async move {
            let own = app.clone();
            let served = own.tasks.track_future(async move {
                serve(app, socket, token).await;
                drop(slot);
            });
            Box::pin(served).await;
        }))
}

async fn serve(app: Arc<App>, mut socket: WebSocket, token: Option<String>) {
    let stop = app.stop.clone();
    let opened = tokio::select! {
        opened = open(&app, token.as_deref()) => opened,
        () = stop.cancelled() => return,
    };
    let (bearer, greeting) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(text)) => return fail(&mut socket, text).await,
        Err(cause) => {
            // The store is away: drop TCP without a close frame, so that the client comes back.
            warn!(%cause, "a socket could not be opened; its client will retry");
            return;
        }
    };
    let ticket = Ticket { registered: bearer.role == Role::User, token_id: bearer.token_id.into() };
    let session = app.hub.register(bearer.user.id, ticket, greeting);
    debug!(user.id = %session.user, session.id, "a socket opened");
    let ended = connection::run(&app, socket, &session).await;
    debug!(user.id = %session.user, session.id, ?ended, "a socket ended");
    app.hub.unregister(&session);
}

/// Checks the token and prepares the first frames, or says why not.
async fn open(app: &App, token: Option<&str>) -> Result<Result<(Bearer, Vec<Utf8Bytes>), &'static str>> {
    let Some(token) = token else { return Ok(Err("缺少 token 参数")) };
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
async fn fail(socket: &mut WebSocket, text: &str) {
    let frame = serde_json::json!({ "msg": "fail", "data": text }).to_string();
    if socket.send(Message::Text(frame.into())).await.is_ok() {
        close(socket, None).await;
    }
}

/// Sends a close frame and gives the peer a moment to answer it, as the protocol wants.
async fn close(socket: &mut WebSocket, code: Option<u16>) {
    let frame = code.map(|code| CloseFrame { code, reason: Utf8Bytes::from_static("") });
    if socket.send(Message::Close(frame)).await.is_err() {
        return;
    }
    let answered = async { while let Some(Ok(_)) = socket.recv().await {} };
    // A peer that does not answer is dropped all the same.
    let _ = tokio::time::timeout(connection::CLOSE_WAIT, answered).await;
}
