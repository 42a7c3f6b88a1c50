//! The one table of routes, in the order of the API document.

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowHeaders, AllowMethods, Any, CorsLayer};
use tracing::{error, info_span};

use crate::accounts::auth::{self, RegisteredUser};
use crate::accounts::handlers as accounts;
use crate::app::Shared;
use crate::error::AppError;
use crate::gateway;
use crate::messages::handlers as messages;
use crate::visitors::handlers as visitors;

/// Every route of the server.
pub fn router(app: Shared) -> Router {
    let open = Router::new()
        .route("/regChat", post(accounts::register))
        .route("/loginChat", post(accounts::login))
        .route("/visitorRegister", post(visitors::arrive))
        .route("/visitorregChat", post(visitors::register))
        .route("/visitorloginChat", post(visitors::login))
        .route("/userinfo/{uuid}", get(accounts::userinfo));
    Router::new()
        .nest("/api", open.nest("/chat", chat(&app)))
        .route("/ws", get(gateway::connect))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(app.config.http.body_bytes_max))
        .layer(middleware::from_fn_with_state(app.clone(), time_limit))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(cors())
        .layer(middleware::from_fn(trace))
        .with_state(app)
}

/// Routes behind a token.
fn chat(app: &Shared) -> Router<Shared> {
    Router::new()
        .route("/logout", post(accounts::logout))
        .route("/userset", post(accounts::userset))
        .route("/updateUserinfo", post(accounts::update_userinfo))
        .route("/setPassword", post(accounts::set_password))
        .route("/socket/sendmessage", post(messages::send))
        .route("/chatGetmessageOffLine", post(messages::ask))
        .route("/revokeMessage", post(messages::revoke))
        .fallback(unknown_chat_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(app.clone(), auth::authenticate))
}

async fn not_found() -> AppError {
    AppError::NotFound
}

async fn wrong_method() -> AppError {
    AppError::MethodNotAllowed
}

/// A guest is told to log in before it is told that there is nothing here, as by the old middleware.
async fn unknown_chat_route(_: RegisteredUser) -> AppError {
    AppError::NotFound
}

/// Any origin, the headers that were asked for (contract: people §1 "CORS"): every call of an H5 client is preflighted.
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .max_age(Duration::from_hours(24))
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that CatchPanicLayer asks for")]
fn panicked(cause: Box<dyn std::any::Any + Send>) -> Response {
    let text = cause.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| cause.downcast_ref::<String>().cloned()).unwrap_or_default();
    error!(panic = text, "a handler panicked; the request was answered 500");
    AppError::internal("a handler panicked").into_response()
}

/// Uploads and sockets take as long as they take; everything else is answered in time.
async fn time_limit(State(app): State<Shared>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path == "/ws" || path.starts_with("/api/chat/upload") || path.starts_with("/public/") {
        return next.run(request).await;
    }
    let limit = Duration::from_secs(app.config.http.request_timeout_s);
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => AppError::busy().into_response(),
    }
}

/// Gives each request an id, which is in its log lines and in the reply's `x-request-id`.
async fn trace(request: Request, next: Next) -> Response {
    use tracing::Instrument;
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let id = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    // The path only: queries may hold tokens.
    let span = info_span!("request", id, method = %request.method(), path = request.uri().path());
    let mut response = next.run(request).instrument(span).await;
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(header::HeaderName::from_static("x-request-id"), id);
    }
    response
}
