//! What the routes of friend requests are.

use super::handlers::{self, ApplicationPage, FoundApplication};
use crate::http::describe::Route;

const MYSELF: &str = "不能添加自己为好友";
const NOBODY: &str = "添加的好友不存在";
const ASKED_ALREADY: &str = "您已经申请过了，请勿重复申请";

/// Routes of this feature.
pub fn routes() -> Vec<Route> {
    vec![
        Route::post("/api/chat/applyfriend", "申请加好友 (ask to be friends)", handlers::apply)
            .says(&["ok"])
            .refuses(&[MYSELF, NOBODY, ASKED_ALREADY]),
        Route::get("/api/chat/listapplyfriend/{page}", "好友申请列表 (who asks me)", handlers::list)
            .note("`limit` is 10 if it is left out; `pendingCount` counts all that wait, whatever the page.")
            .data::<ApplicationPage<'_>>(),
        Route::post("/api/chat/handleapply/{id}", "处理好友申请 (answer who asks)", handlers::answer)
            .note("`id` is the application's; `nickname` the remark that I give the new friend.")
            .says(&["ok"])
            .refuses(&["申请不存在或已处理"]),
        Route::post("/api/chat/isApplyfriend/{uuid}", "对方是否申请 (has somebody asked me)", handlers::find_from)
            .data::<FoundApplication<'_>>()
            .refuses(&["用户不存在", "用户申请信息不存在"]),
        Route::post("/api/chat/deletegoodfriend/{id}", "删除好友 (remove a friend)", handlers::part)
            .note("Both sides go, but for that of somebody who has blocked me; and all applications between the two.")
            .says(&["删除好友成功"])
            .refuses(&["不是好友关系，无权操作"]),
        Route::post("/api/chat/autoAddFriendAndAgree", "直接加好友 (be friends at once)", handlers::add)
            .says(&["ok"])
            .refuses(&[MYSELF, NOBODY, "需要对方审核，不能自动加对方为好友", ASKED_ALREADY]),
    ]
}
