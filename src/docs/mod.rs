//! The descriptions of the server: OpenAPI of its routes, AsyncAPI of its frames, a collection for Postman, and the page
//! that shows the first. All are made of what the features tell of their routes (`describe.rs`), when they are asked for.

pub mod asyncapi;
mod examples;
pub mod openapi;
pub mod postman;
mod story;

use std::sync::{Arc, OnceLock};

use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::Value;
use utoipa_swagger_ui::Config;

use crate::app::Shared;
use crate::error::{AppError, Result};
use crate::http::describe::Route;
use crate::{accounts, answers, friends, gateway, groups, media, messages, requests, visitors};

/// Routes that belong together.
#[derive(Debug)]
pub struct Section {
    /// Shown.
    pub name: &'static str,
    /// In a sentence or two.
    pub about: &'static str,
    /// In the order of the API document, but for a logout, which is the last.
    pub routes: Vec<Route>,
}

/// Every route but those of this module.
pub fn sections() -> Vec<Section> {
    let section = |name, about, routes| Section { name, about, routes };
    vec![
        section(
            "账号 accounts",
            "Registering, logging in and out, and what an account says of itself.",
            accounts::describe::routes(),
        ),
        section(
            "游客 visitors",
            "Guests: a device comes without an account, and registers or logs in later. Each call is signed.",
            visitors::describe::routes(),
        ),
        section(
            "好友申请 friend requests",
            "Asking to be friends, the answer, and parting again.",
            requests::friends::describe::routes(),
        ),
        section(
            "好友 friends",
            "Searching for people, my friends, and what I have set for each.",
            friends::describe::routes(),
        ),
        section(
            "消息 messages",
            "Sending, taking back, and asking for what is pending. What is sent arrives over `/ws`.",
            messages::describe::routes(),
        ),
        section("群 groups", "The groups that I am in, and their members.", groups::describe::routes()),
        section(
            "群管理 changes of groups",
            "Making, naming, joining, leaving and ending groups.",
            requests::groups::describe::routes(),
        ),
        section(
            "文件 files",
            "Uploads, pictures of videos, QR codes, and what this server serves as files.",
            media::describe::routes(),
        ),
        section(
            "问答 prepared answers",
            "What is answered in my name to questions that I have foreseen. Refusals have the status 200 and a `code`.",
            answers::describe::routes(),
        ),
        section("推送 push", "The socket over which everything is pushed.", gateway::describe::routes()),
    ]
}

/// `GET /api-docs/openapi.json`
pub async fn serve_openapi(State(app): State<Shared>) -> Result<Response> {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    json(&app, &DOCUMENT, openapi::document)
}

/// `GET /api-docs/asyncapi.json`
pub async fn serve_asyncapi(State(app): State<Shared>) -> Result<Response> {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    json(&app, &DOCUMENT, asyncapi::document)
}

/// A document, which is made when it is first asked for.
fn json(app: &Shared, kept: &'static OnceLock<Bytes>, document: fn() -> Value) -> Result<Response> {
    check_wanted(app)?;
    let body = kept.get_or_init(|| document().to_string().into()).clone();
    Ok(([(header::CONTENT_TYPE, "application/json; charset=utf-8")], body).into_response())
}

/// `GET /docs`: the page's own links are relative to a folder.
pub async fn redirect(State(app): State<Shared>) -> Result<Redirect> {
    check_wanted(&app)?;
    Ok(Redirect::permanent("/docs/"))
}

/// `GET /docs/`
pub async fn page(State(app): State<Shared>) -> Result<Response> {
    asset(&app, "index.html")
}

/// `GET /docs/{*file}`
pub async fn file(State(app): State<Shared>, file: Result<Path<String>, PathRejection>) -> Result<Response> {
    // What is no UTF-8 is no file's name.
    let Path(file) = file.map_err(|_| AppError::NotFound)?;
    asset(&app, &file)
}

/// A file of Swagger UI, which the binary holds.
fn asset(app: &Shared, name: &str) -> Result<Response> {
    check_wanted(app)?;
    let config = Config::new(["/api-docs/openapi.json"]).try_it_out_enabled(true).persist_authorization(true);
    // Otherwise the page of a public server shows a badge of validator.swagger.io, which then reads the document.
    let config = Arc::new(config.validator_url("none"));
    let found = utoipa_swagger_ui::serve(name, config).map_err(|cause| AppError::internal(cause.to_string()))?;
    let file = found.ok_or(AppError::NotFound)?;
    let mut response = Response::new(Body::from(file.bytes.into_owned()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::try_from(file.content_type).map_err(AppError::internal)?);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if file.gzpipped {
        // They are kept so; a client that says nothing of encodings takes any (RFC 9110 §12.5.3), and browsers take this one.
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

fn check_wanted(app: &Shared) -> Result<()> {
    if app.config.http.docs { Ok(()) } else { Err(AppError::NotFound) }
}
