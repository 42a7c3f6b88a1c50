//! What an operator's tools ask, at an address of its own: whether the process lives (`/healthz`), whether it can serve
//! (`/readyz`), and its metrics (`/metrics`, for Prometheus).
//!
//! Apart from the chat's own address, because nothing here asks who is asking; and so that it answers while that one is full of
//! connections. It goes on while the server stops, so that a load balancer hears of it.

mod gauges;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use gauges::Gauges;
use prometheus::{Registry, TEXT_FORMAT, TextEncoder};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::app::Shared;
use crate::error::{AppError, Result};
use crate::http::serve::{Terms, Timeouts, serve};
use crate::http::slots::Places;
use crate::metrics::Connections;

/// Open connections: a few tools that ask now and then.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may be without a request.
const IDLE_MAX: Duration = Duration::from_mins(2);
/// How long a head may take to come, and how long nothing of a reply may be taken.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the store may take to show that it answers.
const STORE_MAX: Duration = Duration::from_secs(1);
/// How long messages that could not be stored speak for themselves: on a full disk the store may still take a row of its own.
const FAILING_FRESH: Duration = Duration::from_secs(10);
/// Bytes of a body that nobody sends.
const BODY_BYTES_MAX: usize = 1024;

/// The listener of operations.
#[derive(Debug)]
pub struct Operations {
    /// Where.
    pub address: SocketAddr,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Operations {
    /// Answers at `listener` until [`Operations::stop`].
    pub fn start(listener: TcpListener, app: &Shared) -> std::io::Result<Self> {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let own = Self { address: listener.local_addr()?, tasks: tasks.clone(), stop: stop.clone() };
        let routes = router(app.clone());
        let answer = move |request| {
            let routes = routes.clone();
            async move {
                let Ok(reply) = routes.oneshot(request).await;
                reply
            }
        };
        let terms = Terms {
            places: Places {
                all: CONNECTIONS_MAX,
                by_network: CONNECTIONS_MAX,
                exempt: Vec::new(),
                bodies_bytes: BODY_BYTES_MAX,
                body_bytes: BODY_BYTES_MAX,
            },
            timeouts: Timeouts { idle: IDLE_MAX, head: PATIENCE, stall: PATIENCE },
            // These connections are not the chat's.
            counts: Connections::new(&Registry::new()),
        };
        own.tasks.spawn(async move { serve(listener, answer, terms, &tasks, stop).await });
        Ok(own)
    }

    /// Ends it; what is being answered is dropped.
    pub fn stop(self) {
        self.stop.cancel();
    }
}

#[derive(Clone)]
struct Asked {
    app: Shared,
    gauges: std::sync::Arc<Gauges>,
}

fn router(app: Shared) -> Router {
    let gauges = std::sync::Arc::new(Gauges::new(&app));
    Router::new()
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Asked { app, gauges })
}

async fn healthy() -> &'static str {
    "ok\n"
}

/// Whether the server can serve; if not, why.
#[derive(Serialize)]
struct Readiness {
    ready: bool,
    failing: Vec<&'static str>,
}

async fn ready(State(Asked { app, .. }): State<Asked>) -> Response {
    let mut failing = Vec::new();
    if app.stop.is_cancelled() {
        failing.push("stopping");
    }
    let can_serve = async {
        match app.messages.failing_for() {
            None => app.db.ping().await,
            Some(ago) if ago < FAILING_FRESH => Err(AppError::busy()),
            // Nobody may have tried since: that the store can be read says too little.
            Some(_) => app.db.try_write().await,
        }
    };
    if !matches!(tokio::time::timeout(STORE_MAX, can_serve).await, Ok(Ok(()))) {
        failing.push("store");
    }
    let ready = failing.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(Readiness { ready, failing })).into_response()
}

async fn metrics(State(Asked { app, gauges }): State<Asked>) -> Result<Response> {
    gauges.look(&app);
    let families = app.metrics.registry().gather();
    let text = TextEncoder::new().encode_to_string(&families).map_err(AppError::internal)?;
    Ok(([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response())
}
