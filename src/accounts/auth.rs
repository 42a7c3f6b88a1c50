//! The door of `/api/chat`: who bears the token, in the order and with the texts of contract: people §1.2.
//!
//! A token may come in the header, the query or (moved to the header by `http::edge`) the body. A handler's extractor is
//! its policy: [`CurrentUser`] lets guests in, [`RegisteredUser`] does not. The visitor
//! white-list of the contract is nothing but the choice between the two. [`AnyBearer`] is for the one call that a socket makes.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tracing::warn;

use super::model::Role;
use super::service::{self, Bearer, Rejection};
use crate::app::Shared;
use crate::error::{AppError, Result};
use crate::http::edge::query_token;
use crate::http::origin::Origin;
use crate::http::proxies::{client_address, is_unnamed_proxy};

/// Anyone with a live token, even a former guest's.
#[derive(Clone, Debug)]
pub struct AnyBearer(pub Bearer);

/// Anyone whose token may act, guests included.
#[derive(Clone, Debug)]
pub struct CurrentUser(pub Bearer);

/// Somebody whose token has role `user`.
#[derive(Clone, Debug)]
pub struct RegisteredUser(pub Bearer);

/// The address that limits count a client by.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub IpAddr);

pub(super) const NO_TOKEN: AppError = AppError::refused("您没有权限访问即时通讯接口");
pub(super) const BAD_TOKEN: AppError = AppError::refused("Token 令牌不合法！");
pub(super) const DISABLED: AppError = AppError::refused("当前用户不存在或者已被禁用");
pub(super) const VISITOR: AppError = AppError::refused("您没有权限访问，请先注册或登录");

impl FromRequestParts<Shared> for AnyBearer {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self> {
        let from_query;
        let token = if let Some(token) = parts.headers.get("token").filter(|token| !token.is_empty()) {
            // Bytes that are no text are a bad token, and not none: the client recovers from that text only.
            token.to_str().map_err(|_| BAD_TOKEN)?
        } else {
            from_query = query_token(parts.uri.query()).ok_or(NO_TOKEN)?;
            &from_query
        };
        let bearer = service::authenticate(app, token).await?;
        bearer.map(Self).map_err(|rejection| match rejection {
            Rejection::Token => BAD_TOKEN,
            Rejection::Missing | Rejection::Disabled => DISABLED,
        })
    }
}

impl FromRequestParts<Shared> for CurrentUser {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self> {
        let AnyBearer(bearer) = AnyBearer::from_request_parts(parts, app).await?;
        if bearer.former { Err(VISITOR) } else { Ok(Self(bearer)) }
    }
}

impl FromRequestParts<Shared> for RegisteredUser {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self> {
        let CurrentUser(bearer) = CurrentUser::from_request_parts(parts, app).await?;
        if bearer.role == Role::Visitor { Err(VISITOR) } else { Ok(Self(bearer)) }
    }
}

impl FromRequestParts<Shared> for ClientAddress {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self> {
        let origin =
            parts.extensions.get::<Origin>().ok_or_else(|| AppError::internal("a request without an origin"))?;
        let (peer, trusted) = (origin.peer, &app.config.http.trusted_proxies);
        if is_unnamed_proxy(peer, &parts.headers, trusted) {
            app.accounts.proxy_told.call_once(|| {
                warn!(
                    "{} sends X-Forwarded-For and is not in http.trusted_proxies: all who come through it share the limits of \
                     one address. If it is a reverse proxy of yours, name it there",
                    peer.ip().to_canonical()
                );
            });
        }
        Ok(Self(client_address(peer, &parts.headers, trusted)))
    }
}
