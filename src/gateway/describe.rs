//! What the endpoint of sockets is; the frames are in `docs/asyncapi.rs`.

use crate::http::describe::Route;
use crate::http::fields::{Field, Kind, LENGTH_MAX};

/// The one route of this module.
pub fn routes() -> Vec<Route> {
    let token = Field {
        name: "token".to_owned(),
        label: String::new(),
        about: "Of a login, or of a guest. Headers are not looked at.",
        kind: Kind::Text { min: 1, max: LENGTH_MAX },
        required: true,
    };
    vec![
        Route::get("/ws", "WebSocket 连接 (the socket)", super::connect)
            .field(token)
            .note("`?token=` is the token. Frames are described by `/api-docs/asyncapi.json`.")
            .note("Postman and Apipost open it as a WebSocket request, not as this one.")
            .note("Failures come as a frame after the upgrade: `{\"msg\":\"fail\",\"data\":\"…\"}`, then a close.")
            .also(101, "已连接 (switching protocols)", &[])
            .refuses(&["请使用 WebSocket 连接"]),
    ]
}
