//! What the routes of friends are.

use super::handlers::{self, FriendCard, FriendList, FriendRow, UserSettings};
use crate::accounts::model::Found;
use crate::http::describe::Route;

/// Routes of this feature.
pub fn routes() -> Vec<Route> {
    vec![
        Route::post("/api/chat/searchUser", "搜索用户 (search for people)", handlers::search_user)
            .note("At most 50: exact names first, then those that begin with the keyword, then those that contain it.")
            .list::<Found>(),
        Route::get("/api/chat/goodfriendlist/{page}", "好友列表 (my friends)", handlers::list)
            .note("`limit` is 2000 if it is left out. `rows` is `[]` if there is nobody; `total` counts the sections.")
            .data::<FriendList<'_>>(),
        Route::get("/api/chat/getgoodfriendinfo/{id}", "好友资料 (a friend's card)", handlers::card)
            .note("`id` is the friend's user id.")
            .data::<FriendCard<'_>>()
            .refuses(&["好友不存在"]),
        Route::post(
            "/api/chat/setblackgoodfriend/{id}",
            "拉黑或取消 (block or unblock a friend)",
            handlers::set_blocked,
        )
        .says(&["ok"])
        .refuses(&["好友不存在"]),
        Route::post("/api/chat/setstargoodfriend/{id}", "星标或取消 (star or unstar a friend)", handlers::set_starred)
            .says(&["ok"])
            .refuses(&["好友不存在或者被拉黑，无法操作"]),
        Route::post("/api/chat/setmeOrfriendCanSee/{id}", "动态权限 (who sees whose posts)", handlers::set_visibility)
            .says(&["ok"])
            .refuses(&["好友不存在或者被拉黑，无法操作"]),
        Route::post("/api/chat/ismygoodfriend/{id}", "是否好友 (is somebody my friend)", handlers::is_mine)
            .note("A \"no\" is a refusal.")
            .data::<FriendRow<'_>>()
            .refuses(&["不是好友"]),
        Route::post("/api/chat/getUserSetInfo", "对方聊天设置 (how somebody takes messages)", handlers::user_settings)
            .note("`isgoodfriend` says whether I am in *their* list.")
            .data::<UserSettings<'_>>()
            .refuses(&["用户不存在或者为游客，无法加为好友"]),
    ]
}
