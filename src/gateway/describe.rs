//! What the endpoint of sockets is; the frames are in `docs/asyncapi.rs`.

use crate::http::describe::Route;

/// The one route of this module.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/ws", "WebSocket 连接 (the socket)", super::connect)
            .note("`?token=` is the token. Frames are described by `/api-docs/asyncapi.json`.")
            .note("Postman and Apipost open it as a WebSocket request, not as this one.")
            .note("Failures come as a frame after the upgrade: `{\"msg\":\"fail\",\"data\":\"…\"}`, then a close.")
            .also(101, "已连接 (switching protocols)", &[])
            .refuses(&["请使用 WebSocket 连接"]),
    ]
}
