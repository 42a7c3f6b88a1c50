//! The door of `/api/chat`: who bears the token, in the order and with the texts of contract: people §1.2.
//!
//! A handler's extractor is its policy: [`CurrentUser`] lets guests in, [`RegisteredUser`] does not. The visitor
//! white-list of the contract is nothing but the choice between the two.

use std::net::IpAddr;

use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::BodyExt;

use super::model::Role;
use super::service::{self, Bearer, Rejection};
use crate::app::Shared;
use crate::error::{AppError, Result};
use crate::http::payload::{content_type, parse_body};
use crate::http::serve::{Peer, client_address};

/// Anyone with a live token, guests included.
#[derive(Clone, Debug)]
pub struct CurrentUser(pub Bearer);

/// Somebody whose token has role `user`.
#[derive(Clone, Debug)]
pub struct RegisteredUser(pub Bearer);

/// The address that limits count a client by.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub IpAddr);

const NO_TOKEN: AppError = AppError::refused("您没有权限访问即时通讯接口");
const BAD_TOKEN: AppError = AppError::refused("Token 令牌不合法！");
const DISABLED: AppError = AppError::refused("当前用户不存在或者已被禁用");
const VISITOR: AppError = AppError::refused("您没有权限访问，请先注册或登录");

/// Middleware over `/api/chat`: refuses whoever bears no live token and hands the bearer to the extractors.
pub async fn authenticate(State(app): State<Shared>, request: Request, next: Next) -> Result<Response> {
    let (token, mut request) = match header_token(request.headers()).or_else(|| query_token(request.uri().query())) {
        Some(token) => (token, request),
        None => body_token(request, app.config.http.body_bytes_max).await?,
    };
    let bearer = service::authenticate(&app, &token).await?.map_err(|rejection| match rejection {
        Rejection::Token => BAD_TOKEN,
        Rejection::Missing | Rejection::Disabled => DISABLED,
    })?;
    request.extensions_mut().insert(bearer);
    Ok(next.run(request).await)
}

fn header_token(headers: &HeaderMap) -> Option<String> {
    let token = headers.get("token")?.to_str().ok()?;
    (!token.is_empty()).then(|| token.to_owned())
}

/// The parameter `token` of a query.
pub fn query_token(query: Option<&str>) -> Option<String> {
    let pairs = form_urlencoded::parse(query?.as_bytes());
    pairs.into_iter().find(|(name, value)| name == "token" && !value.is_empty()).map(|(_, value)| value.into_owned())
}

/// The field `token` of a JSON or urlencoded body, which is put back for the handler.
async fn body_token(request: Request, bytes_max: usize) -> Result<(String, Request)> {
    let kind = content_type(request.headers());
    if request.method() == Method::GET || !(kind.contains("json") || kind.contains("urlencoded")) {
        return Err(NO_TOKEN);
    }
    let (parts, body) = request.into_parts();
    let bytes = http_body_util::Limited::new(body, bytes_max).collect().await.map_err(|_| NO_TOKEN)?.to_bytes();
    let fields = parse_body(&kind, &bytes)?;
    let token = fields.get("token").and_then(|token| token.as_str()).filter(|token| !token.is_empty());
    let token = token.ok_or(NO_TOKEN)?.to_owned();
    Ok((token, Request::from_parts(parts, Body::from(bytes))))
}

impl<S: Send + Sync> FromRequestParts<S> for CurrentUser {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        parts.extensions.get::<Bearer>().cloned().map(Self).ok_or(NO_TOKEN)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RegisteredUser {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let CurrentUser(bearer) = CurrentUser::from_request_parts(parts, state).await?;
        if bearer.role == Role::Visitor { Err(VISITOR) } else { Ok(Self(bearer)) }
    }
}

impl FromRequestParts<Shared> for ClientAddress {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self> {
        let peer = parts.extensions.get::<Peer>().ok_or_else(|| AppError::internal("a request without a peer"))?;
        Ok(Self(client_address(peer.0, &parts.headers, &app.config.http.trusted_proxies)))
    }
}
