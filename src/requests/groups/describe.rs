//! What the routes that change groups are.

use super::handlers;
use crate::http::describe::Route;

const NOT_ALLOWED: &str = "群不存在或者被封禁或者你无权操作";

/// Routes of this feature.
pub fn routes() -> Vec<Route> {
    vec![
        Route::post("/api/chat/group/create", "创建群 (make a group)", handlers::create)
            .note("`userIds` are row ids of my friend list, not user ids; in a form also `userIds=1,2`.")
            .says(&["ok"])
            .invalid("userIds 的个数 不能超过 10000")
            .refuses(&["请选择加入群聊的用户", "用户不存在，无法加入群聊"]),
        Route::post("/api/chat/groupUpdateName", "修改群名称 (rename a group)", handlers::rename)
            .says(&["ok"])
            .refuses(&["只有群主才能修改群名称", "无法通知群成员"]),
        Route::post("/api/chat/groupremark", "修改群公告 (put an announcement up)", handlers::set_remark)
            .says(&["ok"])
            .refuses(&["只有群主才能修改群公告", "无法通知群成员"]),
        Route::post("/api/chat/groupnickname", "修改群昵称 (my name in a group)", handlers::set_nickname)
            .says(&["ok"])
            .refuses(&["你不在该群聊中，无法修改昵称"]),
        Route::post("/api/chat/groupDeleteOrQuit", "解散或退出 (end or leave a group)", handlers::leave)
            .note("The owner ends it, others leave it.")
            .says(&["ok"])
            .refuses(&["群不存在", "你不在该群聊中，操作失败"]),
        Route::post("/api/chat/groupDeleteUser", "删除群成员 (remove a member)", handlers::remove_member)
            .says(&["删除群成员成功"])
            .refuses(&["只有群主才能操作", "群主不能删除自己"]),
        Route::post("/api/chat/groupInviteUser", "邀请或加入 (invite, or come in)", handlers::invite)
            .note("`inviteuser_id` is mine if I invite; without it, or with 0 or -1, I come by myself and `user_id` is mine.")
            .says(&["加群成功", "等待群主同意"])
            .refuses(&[
                "群不存在或者被封禁",
                "非法操作",
                "已申请加入群聊，正在等待群主同意",
                "用户已经在群里",
                "加群的用户不存在或已被封禁，无法加入群聊",
                "请先登录再申请进群",
            ]),
        Route::post("/api/chat/groupAddUserSet", "进群设置 (who may join)", handlers::set_join_rule)
            .note("0 anyone, 1 the owner approves, 2 guests must log in first; what else is kept counts as 0.")
            .says(&["设置成功"])
            .refuses(&[NOT_ALLOWED]),
        Route::post("/api/chat/groupAgreeOrNo", "处理进群申请 (let somebody in, or not)", handlers::decide)
            .says(&["处理成功"])
            .refuses(&[NOT_ALLOWED, "非法操作", "用户不存在或者被封禁"]),
    ]
}
