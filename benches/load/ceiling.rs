//! The ceiling: the same HTTP routes and socket push on axum, with no rules and no store; a login is its hash. What it costs, no
//! server built on this stack can save. Runs as a process of its own (`load --ceiling ADDRESS`), in the same table run.
//!
//! A "token" is the user's id, everybody may write to everybody, and a group is all sockets that are open.

use std::{
    cell::RefCell,
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::SystemTime,
};

use argon2::{Argon2, Block};
use axum::{
    Extension, Json, Router,
    extract::{
        Query, State, WebSocketUpgrade,
        ws::{Message, Utf8Bytes, WebSocket},
    },
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{any, post},
    serve::ListenerExt,
};
use dashmap::DashMap;
use futures_util::SinkExt;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tokio::{
    net::TcpListener,
    runtime::Builder,
    sync::{Notify, Semaphore},
    task::spawn_blocking,
};

use crate::failure::{Failure, While};

/// What an idle socket holds for reading; phones send next to nothing.
const READ_BYTES: usize = 512;
/// Frames that wait for one socket are written together up to this.
const WRITE_BYTES: usize = 16 * 1024;
const AVATAR: &str = "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/user.jpg";

#[derive(Clone, Default)]
struct Sockets {
    by_user: Arc<DashMap<u64, Arc<Outlet>>>,
    users: Arc<AtomicU64>,
}

/// Frames on their way to one socket. The load program bounds them: it waits for arrivals.
#[derive(Default)]
struct Outlet {
    frames: Mutex<VecDeque<Utf8Bytes>>,
    bell: Notify,
}

#[derive(Deserialize)]
struct Draft {
    sendto_id: u64,
    #[serde(rename = "chatType")]
    chat_type: String,
    #[serde(rename = "type")]
    kind: String,
    data: Box<RawValue>,
    options: String,
}

#[derive(Deserialize)]
struct Login {
    username: String,
    password: String,
}

#[derive(Deserialize)]
struct Handshake {
    token: u64,
}

/// Serves until it is killed.
pub fn serve(address: SocketAddr) -> Result<(), Failure> {
    let runtime = Builder::new_multi_thread().enable_all().build().doing("starting the ceiling's runtime")?;
    let cores = thread::available_parallelism().doing("counting cores")?.get();
    let router = Router::new()
        .route("/api/chat/socket/sendmessage", post(send))
        .route("/api/regChat", post(register))
        .route("/api/loginChat", post(login))
        .route("/ws", any(upgrade))
        .route("/api/chat/{*rest}", post(async || Json(json!({"msg": "ok", "data": "ok"}))))
        .layer(Extension(Arc::new(Semaphore::new(cores))))
        .with_state(Sockets::default());
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await.doing("listening")?;
        let listener = listener.tap_io(|stream| {
            // Without it a frame may wait for the acknowledgement of the one before.
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, router).await.doing("serving the ceiling")
    })
}

async fn register(State(sockets): State<Sockets>) -> Json<Value> {
    let id = sockets.users.fetch_add(1, Ordering::Relaxed) + 1;
    Json(json!({"msg": "ok", "data": {"id": id, "token": id.to_string()}}))
}

/// A hash and nothing else, as many at once as there are cores.
async fn login(Extension(turns): Extension<Arc<Semaphore>>, Json(login): Json<Login>) -> Response {
    thread_local! {
        static MEMORY: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
    }
    let Ok(turn) = turns.acquire_owned().await else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
    let hash = spawn_blocking(move || {
        let argon2 = Argon2::default();
        let mut hash = [0; 32];
        let hashed = MEMORY.with_borrow_mut(|memory| {
            memory.resize(argon2.params().block_count(), Block::default());
            let salt = login.username.as_bytes();
            argon2.hash_password_into_with_memory(login.password.as_bytes(), salt, &mut hash, memory)
        });
        drop(turn);
        hashed.map(|()| hash)
    });
    match hash.await {
        Ok(Ok(hash)) => Json(json!({"msg": "ok", "data": {"token": hash.to_vec()}})).into_response(),
        _ => StatusCode::BAD_REQUEST.into_response(),
    }
}

async fn send(State(sockets): State<Sockets>, headers: HeaderMap, Json(draft): Json<Draft>) -> Response {
    let from_id = headers.get("token").and_then(|token| token.to_str().ok()).unwrap_or("0");
    let Ok(message) = message(&draft, from_id) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let frame = format!(r#"{{"type":"singleChat","data":{message},"timestamp":{}}}"#, now_ms());
    let frame = Utf8Bytes::from(frame);
    if draft.chat_type == "group" {
        sockets.by_user.iter().for_each(|outlet| outlet.push(frame.clone()));
    } else if let Some(outlet) = sockets.by_user.get(&draft.sendto_id) {
        outlet.push(frame);
    }
    let reply = format!(r#"{{"msg":"ok","data":{message}}}"#);
    ([(header::CONTENT_TYPE, "application/json")], reply).into_response()
}

/// The message object of the contract, of the size that the server answers.
fn message(draft: &Draft, from_id: &str) -> serde_json::Result<String> {
    let Draft { sendto_id, chat_type, kind, data, options } = draft;
    let data = serde_json::to_string(data.get())?;
    let options = if options == "%7B%7D" { "{}" } else { "null" };
    let id = uuid::Uuid::new_v4();
    let create_time = now_ms();
    Ok(format!(
        r#"{{"id":"{id}","from_id":{from_id},"from_name":"load_s_000001","from_avatar":"{AVATAR}","to_id":{sendto_id},"to_name":"load_r_000001","to_avatar":"{AVATAR}","chatType":"{chat_type}","type":"{kind}","data":{data},"options":{options},"create_time":{create_time},"isremove":0,"sendUUid":"{id}"}}"#
    ))
}

fn now_ms() -> u128 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_millis())
}

async fn upgrade(
    State(sockets): State<Sockets>,
    Query(Handshake { token }): Query<Handshake>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let upgrade = upgrade.read_buffer_size(READ_BYTES).write_buffer_size(WRITE_BYTES);
    upgrade.on_upgrade(move |socket| Box::pin(carry(sockets, token, socket)))
}

async fn carry(sockets: Sockets, user_id: u64, mut socket: WebSocket) {
    let outlet = Arc::new(Outlet::default());
    sockets.by_user.insert(user_id, Arc::clone(&outlet));
    loop {
        tokio::select! {
            () = outlet.bell.notified() => {
                if outlet.drain(&mut socket).await.is_err() {
                    break;
                }
            }
            received = socket.recv() => {
                if !matches!(received, Some(Ok(_))) {
                    break;
                }
            }
        }
    }
    sockets.by_user.remove_if(&user_id, |_, current| Arc::ptr_eq(current, &outlet));
}

impl Outlet {
    fn push(&self, frame: Utf8Bytes) {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner).push_back(frame);
        self.bell.notify_one();
    }

    fn next(&self) -> Option<Utf8Bytes> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    async fn drain(&self, socket: &mut WebSocket) -> Result<(), axum::Error> {
        while let Some(frame) = self.next() {
            socket.feed(Message::Text(frame)).await?;
        }
        socket.flush().await
    }
}
