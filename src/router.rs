//! The one table of routes.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{FromRequestParts, Request, State};
use axum::http;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use hyper::body::Body as HttpBody;
use tower::{Service, ServiceBuilder};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowHeaders, AllowMethods, Any, CorsLayer};

use crate::accounts::auth::RegisteredUser;
use crate::accounts::handlers as accounts;
use crate::answers::handlers as answers;
use crate::app::Shared;
use crate::docs;
use crate::error::{AppError, BoxError, Result};
use crate::friends::handlers as friends;
use crate::gateway;
use crate::groups::handlers as groups;
use crate::media::{self, handlers as files};
use crate::messages::handlers as messages;
use crate::requests::friends::handlers as friend_requests;
use crate::requests::groups::handlers as group_requests;
use crate::visitors::handlers as visitors;

/// Routes, and their templates, which name them in the metrics.
#[derive(Debug, Default)]
pub struct Table {
    routes: Router<Shared>,
    templates: Vec<&'static str>,
}

impl Table {
    fn route(mut self, template: &'static str, method: MethodRouter<Shared>) -> Self {
        self.templates.push(template);
        Self { routes: Router::route(self.routes, template, method), ..self }
    }

    /// The templates, in the order of the table.
    pub fn templates(&self) -> &[&'static str] {
        &self.templates
    }

    /// The routes, and the answers to what is none of them.
    pub fn router(self, app: Shared) -> Router {
        self.routes.fallback(not_found).method_not_allowed_fallback(wrong_method).with_state(app)
    }
}

/// Every route of the server.
pub fn table() -> Table {
    Table::default()
        // Open to anyone.
        .route("/api/regChat", post(accounts::register))
        .route("/api/loginChat", post(accounts::login))
        .route("/api/visitorRegister", post(visitors::arrive))
        .route("/api/visitorregChat", post(visitors::register))
        .route("/api/visitorloginChat", post(visitors::login))
        .route("/api/userinfo/{uuid}", get(accounts::userinfo))
        .route("/ws", get(gateway::connect))
        .route("/public/", get(media::serve))
        .route("/public/{*path}", get(media::serve))
        .route("/docs", get(docs::redirect))
        .route("/docs/", get(docs::page))
        .route("/docs/{*file}", get(docs::file))
        .route("/api-docs/openapi.json", get(docs::serve_openapi))
        .route("/api-docs/asyncapi.json", get(docs::serve_asyncapi))
        // Behind a token: each handler's extractor says whose.
        .route("/api/chat/logout", post(accounts::logout))
        .route("/api/chat/searchUser", post(friends::search_user))
        .route("/api/chat/applyfriend", post(friend_requests::apply))
        .route("/api/chat/listapplyfriend/{page}", get(friend_requests::list))
        .route("/api/chat/handleapply/{id}", post(friend_requests::answer))
        .route("/api/chat/goodfriendlist/{page}", get(friends::list))
        .route("/api/chat/getgoodfriendinfo/{id}", get(friends::card))
        .route("/api/chat/setblackgoodfriend/{id}", post(friends::set_blocked))
        .route("/api/chat/setstargoodfriend/{id}", post(friends::set_starred))
        .route("/api/chat/setmeOrfriendCanSee/{id}", post(friends::set_visibility))
        .route("/api/chat/isApplyfriend/{uuid}", post(friend_requests::find_from))
        .route("/api/chat/userset", post(accounts::userset))
        .route("/api/chat/ismygoodfriend/{id}", post(friends::is_mine))
        .route("/api/chat/deletegoodfriend/{id}", post(friend_requests::part))
        .route("/api/chat/updateUserinfo", post(accounts::update_userinfo))
        .route("/api/chat/getUserSetInfo", post(friends::user_settings))
        .route("/api/chat/autoAddFriendAndAgree", post(friend_requests::add))
        .route("/api/chat/setPassword", post(accounts::set_password))
        .route("/api/chat/askanswer/create", post(answers::create))
        .route("/api/chat/askanswer/update", post(answers::update))
        .route("/api/chat/askanswer/delete", post(answers::delete))
        .route("/api/chat/askanswer/list", post(answers::list))
        .route("/api/chat/askanswer/detail", post(answers::detail))
        .route("/api/chat/askanswer/search", post(answers::search))
        .route("/api/chat/socket/sendmessage", post(messages::send))
        .route("/api/chat/group/create", post(group_requests::create))
        .route("/api/chat/chatGetmessageOffLine", post(messages::ask))
        .route("/api/chat/grouplist/{page}", get(groups::list))
        .route("/api/chat/groupinfo/{id}", get(groups::profile))
        .route("/api/chat/groupUpdateName", post(group_requests::rename))
        .route("/api/chat/groupremark", post(group_requests::set_remark))
        .route("/api/chat/groupnickname", post(group_requests::set_nickname))
        .route("/api/chat/groupDeleteOrQuit", post(group_requests::leave))
        .route("/api/chat/groupQrcode/{id}", get(files::qr_code))
        .route("/api/chat/uploadStreamSingleToServerDiy/{diydir}", post(files::upload_to_server))
        .route("/api/chat/uploadAliyun", post(files::upload_to_aliyun))
        .route("/api/chat/getVideoScreenshot", post(files::cover))
        .route("/api/chat/revokeMessage", post(messages::revoke))
        .route("/api/chat/groupDeleteUser", post(group_requests::remove_member))
        .route("/api/chat/groupInviteUser", post(group_requests::invite))
        .route("/api/chat/groupAddUserSet", post(group_requests::set_join_rule))
        .route("/api/chat/groupAgreeOrNo", post(group_requests::decide))
}

/// Routes with an answer in place of a panic.
pub fn service(
    routes: Router,
) -> impl Service<
    Request,
    Response = http::Response<impl HttpBody<Data = Bytes, Error: Into<BoxError>> + Default + Send>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ 'static {
    ServiceBuilder::new().layer(CatchPanicLayer::custom(panicked)).service(routes)
}

/// Routes for the method `OPTIONS`: the answers to a browser that asks what it may send. All that a reply of another method needs
/// of CORS is one header (`http::edge`), which does not depend on the request.
pub fn preflights(
    routes: Router,
) -> impl Service<
    Request,
    Response = http::Response<impl HttpBody<Data = Bytes, Error: Into<BoxError>> + Send>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ 'static {
    // The layer answers by itself, and with 200.
    let no_content = |mut response: http::Response<_>| {
        *response.status_mut() = http::StatusCode::NO_CONTENT;
        response
    };
    ServiceBuilder::new().map_response(no_content).layer(cors()).service(service(routes))
}

async fn not_found(State(app): State<Shared>, request: Request) -> AppError {
    token_first(&app, request).await.err().unwrap_or(AppError::NotFound)
}

async fn wrong_method(State(app): State<Shared>, request: Request) -> AppError {
    token_first(&app, request).await.err().unwrap_or(AppError::MethodNotAllowed)
}

/// Under `/api/chat` a stranger is told about the token, and a guest to log in, before anything else, as by the old
/// middleware.
async fn token_first(app: &Shared, request: Request) -> Result<()> {
    if request.uri().path().starts_with("/api/chat") {
        RegisteredUser::from_request_parts(&mut request.into_parts().0, app).await?;
    }
    Ok(())
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
    AppError::internal(format!("a handler panicked: {text}")).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_answered_500_and_says_nothing_of_itself() {
        let routes = Router::new().route("/", get(async || -> () { panic!("a secret of the inside") }));
        let reply = service(routes).oneshot(Request::new(axum::body::Body::empty())).await.unwrap();
        assert_eq!(reply.status(), http::StatusCode::INTERNAL_SERVER_ERROR);
        let body = to_bytes(axum::body::Body::new(reply.into_body()), 1000).await.unwrap();
        assert_eq!(body, r#"{"msg":"fail","data":"服务器内部错误"}"#);
    }
}
