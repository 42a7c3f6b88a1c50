//! What every request passes before the router and every reply after it: an id, a time limit, the log line of a failure,
//! and a token that came in the body.
//!
//! Plain functions around the router and not layers inside it: axum boxes each layer anew for each request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use tower::{Service, ServiceExt};
use tracing::{error, warn};

use super::fields::{is_truthy, shown};
use super::linger;
use super::meter::Meter;
use super::origin::Origin;
use super::payload::{content_type, fields_of, read_body};
use super::slots::BODY_BYTES_FREE;
use crate::error::{AppError, BoxError, Result};

/// Why a reply is a failure; carried by the reply to its log line.
#[derive(Clone, Debug)]
pub struct Cause(pub Arc<BoxError>);

static NEXT_ID: AtomicU64 = AtomicU64::new(1);
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static TOKEN: HeaderName = HeaderName::from_static("token");

/// Answers one request by `service`, within `time_max`; uploads, files and sockets take the time that they need.
pub async fn respond<S, B>(service: S, request: Request, time_max: Duration, meter: &Meter) -> Response
where
    S: Service<Request, Response = axum::http::Response<B>, Error = std::convert::Infallible>,
    B: hyper::body::Body<Data = axum::body::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    // The path only: queries may hold tokens.
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let running = meter.begin(&path);
    let slot = request.extensions().get::<Origin>().map(|origin| origin.slot.clone());
    let (request, rest) = linger::hold(request);
    let answered = async {
        let request = match lift_token(request).await {
            Ok(request) => request,
            Err(refusal) => return refusal.into_response(),
        };
        let Ok(response) = service.oneshot(request).await;
        response.map(Body::new)
    };
    let answered =
        if unbounded(&path) { Some(answered.await) } else { tokio::time::timeout(time_max, answered).await.ok() };
    if answered.is_some()
        && let Some(rest) = rest
    {
        rest.drain().await;
    }
    // From here until hyper has the reply nothing is awaited: what it flushed meanwhile would give the reply's room back.
    // Files have no exact size: they are read as they are taken.
    let bytes = answered.as_ref().and_then(|response| response.body().size_hint().exact()).unwrap_or(0);
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let mut has_room = true;
    if let Some(slot) = &slot {
        has_room = bytes <= BODY_BYTES_FREE || slot.hold_reply(bytes);
        slot.give_room_back();
    }
    let mut response = match answered {
        Some(_) if !has_room => AppError::busy().into_response(),
        Some(response) => response,
        // Whoever took too long is not waited for any longer.
        None => AppError::unavailable("it took longer than http.request_timeout_s").into_response(),
    };
    if let Some(Cause(cause)) = response.extensions_mut().remove() {
        log_failure(id, &method, &path, response.status(), &cause);
    }
    response.headers_mut().insert(REQUEST_ID.clone(), HeaderValue::from(id));
    // Replies that never reached the router must be readable by browsers too.
    response.headers_mut().entry(ACCESS_CONTROL_ALLOW_ORIGIN).or_insert(HeaderValue::from_static("*"));
    running.answered(response.status());
    response
}

/// Uploads, files and sockets take as long as they take; everything else is answered in time.
fn unbounded(path: &str) -> bool {
    path == "/ws" || is_upload(path) || path.starts_with("/public/")
}

fn is_upload(path: &str) -> bool {
    path.starts_with("/api/chat/upload")
}

fn log_failure(id: u64, method: &Method, path: &str, status: StatusCode, cause: &BoxError) {
    if status == StatusCode::INTERNAL_SERVER_ERROR {
        error!(request.id = id, %method, path, %cause, "a request failed because of a server fault");
    } else {
        warn!(request.id = id, %method, path, %cause, "a request was refused with {status}");
    }
}

/// Moves the field `token` of a body to the header `token`, where a client sent it in neither header nor
/// query (contract: messaging §0 "Auth").
async fn lift_token(request: Request) -> Result<Request> {
    let elsewhere = request.headers().get(&TOKEN).is_some_and(|token| !token.is_empty())
        || query_token(request.uri().query()).is_some()
        || !request.uri().path().starts_with("/api/chat/")
        || request.method() == Method::GET;
    // An upload is not read whole for the sake of a token; the client sends that in the header as well.
    if elsewhere || is_upload(request.uri().path()) || !has_fields(request.headers()) {
        return Ok(request);
    }
    // Boxed, because the app sends a header.
    Box::pin(lift_token_from_body(request)).await
}

async fn lift_token_from_body(request: Request) -> Result<Request> {
    let (mut parts, bytes) = read_body(request).await?;
    let fields = fields_of(&parts.headers, bytes.clone()).await?;
    if let Some(token) = fields.get("token").filter(|token| is_truthy(token)) {
        // What a header cannot hold is no token of ours: it must be refused as a bad one, and not as none.
        let token = HeaderValue::from_str(&shown(token)).unwrap_or(HeaderValue::from_static("-"));
        parts.headers.insert(TOKEN.clone(), token);
    }
    if let Some(origin) = parts.extensions.get::<Origin>() {
        // The handler reads it again, and takes room for it then.
        origin.slot.give_room_back();
    }
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

/// The parameter `token` of a query.
pub fn query_token(query: Option<&str>) -> Option<String> {
    let pairs = form_urlencoded::parse(query?.as_bytes());
    pairs.into_iter().find(|(name, value)| name == "token" && !value.is_empty()).map(|(_, value)| value.into_owned())
}

fn has_fields(headers: &HeaderMap) -> bool {
    let kind = content_type(headers);
    kind.contains("json") || kind.contains("urlencoded") || kind.starts_with("multipart/form-data")
}
