//! The contract's two reply shapes (contract: people §1): `{"msg":"ok","data":X}` and `{"msg":"fail","data":"<text>"}`.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use super::edge::Cause;
use crate::error::AppError;

/// HTTP 200 with `data` in the envelope.
pub fn ok<T: Serialize>(data: T) -> Response {
    bare(&Success { msg: "ok", data })
}

/// HTTP 200 with a body of another shape, for the few routes whose replies have no envelope.
pub fn bare<T: Serialize>(body: &T) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => json_reply(StatusCode::OK, body.into()),
        Err(cause) => AppError::internal(cause).into_response(),
    }
}

/// HTTP 200 with JSON that is serialised already: it is shared with the pushed frame.
pub struct Raw<'a>(pub &'a [u8]);

impl IntoResponse for Raw<'_> {
    fn into_response(self) -> Response {
        json_reply(StatusCode::OK, [b"{\"msg\":\"ok\",\"data\":", self.0, b"}"].concat().into())
    }
}

#[derive(Serialize)]
struct Success<T> {
    msg: &'static str,
    data: T,
}

/// HTTP 200 with the envelope of `askanswer/*`: `{code, msg, data?}` (contract: messaging, "Outside the 40").
pub fn coded<T: Serialize>(code: u16, msg: &str, data: Option<T>) -> Response {
    bare(&Coded { code, msg, data })
}

/// A refusal in the envelope of [`coded`]; what is not the client's doing keeps its status and the common envelope.
pub fn coded_failure(failure: AppError) -> Response {
    match failure {
        AppError::Refused(_) | AppError::Invalid(_) => coded(400, &failure.to_string(), None::<()>),
        other => other.into_response(),
    }
}

#[derive(Serialize)]
struct Coded<'a, T> {
    code: u16,
    msg: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<T>,
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Refused(_) => StatusCode::BAD_REQUEST,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let body = json!({ "msg": "fail", "data": self.to_string() });
        let mut reply = json_reply(status, body.to_string().into());
        if let Self::Busy(Some(cause)) | Self::Internal(cause) = self {
            reply.extensions_mut().insert(Cause(cause.into()));
        }
        reply
    }
}

fn json_reply(status: StatusCode, body: Body) -> Response {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    reply
}
