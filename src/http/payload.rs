//! Extractors for checked parameters: [`Payload`] for a body (POST), [`Params`] for a query (GET); both see the path.

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Multipart, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Map, Value};

use super::fields::{Draft, Fields};
use super::forms::{self, Form};
use super::json;
use super::origin::Origin;
use super::slots::BODY_BYTES_FREE;
use crate::error::{AppError, BoxError, Result};

/// Parameters of a body: JSON, urlencoded or the plain fields of a multipart form, whatever the client prefers.
#[derive(Debug)]
pub struct Payload<T>(pub T);

/// Parameters of a GET: the path's, then the query's.
#[derive(Debug)]
pub struct Params<T>(pub T);

impl<T: Draft, S: Send + Sync> FromRequest<S> for Payload<T> {
    type Rejection = AppError;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        let (mut parts, body) = request.into_parts();
        let path = path_fields(&mut parts, state).await?;
        let mut fields = Fields::new(body_fields(Request::from_parts(parts, body)).await?);
        for (name, value) in path {
            fields.insert(name, value);
        }
        T::read(&fields).map(Self)
    }
}

impl<T: Draft, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let mut fields = Fields::new(forms::parse_query(parts.uri.query().unwrap_or_default()));
        for (name, value) in path_fields(parts, state).await? {
            fields.insert(name, value);
        }
        T::read(&fields).map(Self)
    }
}

async fn path_fields<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<Vec<(String, Value)>> {
    let path = RawPathParams::from_request_parts(parts, state).await.map_err(|_| AppError::NotFound)?;
    Ok(path.iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect())
}

async fn body_fields(request: Request) -> Result<Map<String, Value>> {
    // Read whole first: the parser of multipart forms would report a body that is too large as one that is malformed.
    let (parts, bytes) = read_body(request).await?;
    fields_of(&parts.headers, bytes).await
}

/// The fields of a whole body.
pub async fn fields_of(headers: &HeaderMap, bytes: Bytes) -> Result<Map<String, Value>> {
    let kind = content_type(headers);
    if kind.starts_with("multipart/form-data") {
        // Boxed, because messages seldom come so, and each request would be made with room for the parser.
        Box::pin(multipart_fields(headers, bytes)).await
    } else {
        parse_body(&kind, &bytes)
    }
}

/// The head and the whole body, or the refusal of one that is too large or breaks off. Large ones share a bounded room until
/// their request is answered: whoever sends many gets 503 in place of the server's memory.
pub async fn read_body(request: Request) -> Result<(Parts, Bytes)> {
    let (parts, body) = request.into_parts();
    let origin = parts.extensions.get::<Origin>();
    let mut body = Limited::new(body, origin.map_or(usize::MAX, |origin| origin.slot.body_bytes_max()));
    let mut whole = Whole::default();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|cause| unreadable(&cause))?.into_data() else { continue };
        let is_large = whole.len() + data.len() > BODY_BYTES_FREE;
        if is_large && origin.is_some_and(|origin| !origin.slot.take_room(data.len())) {
            return Err(AppError::busy());
        }
        whole.push(data);
    }
    Ok((parts, whole.into_bytes()))
}

/// A body as it comes. That of a message comes in one piece and is not copied.
#[derive(Default)]
struct Whole {
    first: Bytes,
    all: Vec<u8>,
}

impl Whole {
    fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    fn push(&mut self, data: Bytes) {
        if self.len() == 0 {
            self.first = data;
            return;
        }
        if self.all.is_empty() {
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&data);
    }

    fn into_bytes(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.into() }
    }
}

fn unreadable(cause: &BoxError) -> AppError {
    if cause.is::<LengthLimitError>() { too_large() } else { malformed() }
}

/// Reads the fields of a whole body of JSON or of a urlencoded form; another type holds none, as in the old parser.
pub fn parse_body(kind: &str, bytes: &[u8]) -> Result<Map<String, Value>> {
    if kind.contains("json") {
        // Some editors and tools begin a file with a byte order mark.
        let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Map::new());
        }
        return json::parse(bytes).map_err(|_| malformed());
    }
    if kind.starts_with("application/x-www-form-urlencoded") {
        return forms::parse(bytes);
    }
    Ok(Map::new())
}

/// The body's media type in lower case, or "".
pub fn content_type(headers: &HeaderMap) -> String {
    headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default().to_ascii_lowercase()
}

/// HTTP 400 for a body that cannot be parsed.
pub const fn malformed() -> AppError {
    AppError::refused("请求体格式错误")
}

/// HTTP 413 for a body that is longer than it may be.
pub fn too_large() -> AppError {
    AppError::TooLarge("请求体过大".into())
}

/// The plain fields of a multipart form; files are none.
async fn multipart_fields(headers: &HeaderMap, bytes: Bytes) -> Result<Map<String, Value>> {
    let mut request = Request::new(Body::from(bytes));
    request.headers_mut().extend(headers.get(header::CONTENT_TYPE).map(|kind| (header::CONTENT_TYPE, kind.clone())));
    // axum's own bound is two mebibytes, whatever ours is.
    DefaultBodyLimit::disable().apply(&mut request);
    let mut form = Multipart::from_request(request, &()).await.map_err(|_| malformed())?;
    let mut fields = Form::default();
    while let Some(part) = form.next_field().await.map_err(|_| malformed())? {
        let Some(name) = part.name().map(str::to_owned) else { continue };
        if part.file_name().is_some() {
            continue;
        }
        let text = part.text().await.map_err(|_| malformed())?;
        fields.add(&name, text)?;
    }
    Ok(fields.into_fields())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_is_not_an_object_is_malformed() {
        for body in ["{", "[]", "7", "null", "{\"a\":}"] {
            assert!(parse_body("application/json", body.as_bytes()).is_err(), "{body}");
        }
        assert!(parse_body("application/json", b" ").unwrap().is_empty());
        assert!(parse_body("text/plain", b"{").unwrap().is_empty());
        assert_eq!(parse_body("application/json", "\u{feff}{\"a\":1}".as_bytes()).unwrap().len(), 1);
    }
}
