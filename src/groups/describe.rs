//! What the routes of groups are.

use super::handlers::{self, ListedGroup, Profile};
use crate::http::describe::Route;

/// Routes of this feature.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/api/chat/grouplist/{page}", "群列表 (my groups)", handlers::list)
            .note("`limit` is 30 if it is left out. `/api/chat/grouplist/1&limit=3` is understood too.")
            .list::<ListedGroup<'_>>(),
        Route::get("/api/chat/groupinfo/{id}", "群资料 (a group and its members)", handlers::profile)
            .data::<Profile<'_>>()
            .refuses(&["群不存在或被封禁"]),
    ]
}
