//! What the routes of accounts are, and what the door of `/api/chat` refuses.

use super::auth::{AnyBearer, BAD_TOKEN, ClientAddress, CurrentUser, DISABLED, NO_TOKEN, RegisteredUser, VISITOR};
use super::handlers::{self, UserInfo};
use super::model::Account;
use crate::http::describe::{Argument, Caller, Route};

const TOO_MANY: &str = "请求过于频繁，请1个小时后再试";

/// Routes of this feature.
pub fn routes() -> Vec<Route> {
    vec![
        Route::post("/api/regChat", "注册账号 (register an account)", handlers::register)
            .data::<Account>()
            .invalid("账号 只能由字母、数字和下划线组成")
            .refuses(&["该账号已存在，请换一个账号注册", TOO_MANY]),
        Route::post("/api/loginChat", "登录 (log in)", handlers::login)
            .note("A login ends the token that the same account had before.")
            .data::<Account>()
            .refuses(&["账号不存在或者被禁用", "账户或密码错误", TOO_MANY]),
        Route::get("/api/userinfo/{uuid}", "用户资料 (somebody's public profile)", handlers::userinfo)
            .note("`data` is `null` if there is nobody.")
            .data_or_null::<UserInfo>(),
        Route::post("/api/chat/userset", "聊天设置 (store my chat settings)", handlers::userset)
            .note("Any text; the client stores JSON text such as `{\"chatset\":{\"visitor\":{\"sendCount\":1}}}`.")
            .says(&["ok"])
            .invalid("用户设置 过长"),
        Route::post("/api/chat/updateUserinfo", "修改资料 (change my profile)", handlers::update_userinfo)
            .note("`fieldname` is `nickname`, `avatar` or `invite_confirm`; other names change nothing and reply \"\".")
            .says(&["修改昵称成功", "头像更新成功", "设置成功", ""])
            .refuses(&[
                "账号不可修改",
                "昵称长度不能超过30个字符",
                "头像地址过长不能超过1000个字符",
                "添加我为好友设置值错误",
            ]),
        Route::post("/api/chat/setPassword", "修改密码 (change my password)", handlers::set_password)
            .note("The token that made the change stays, all others of the account end.")
            .says(&["修改密码成功"])
            .refuses(&["新密码与确认新密码不一致", "原始密码错误，无法修改密码", "用户不存在，无法修改密码", TOO_MANY]),
        // Last: whoever runs the collection has no token after it.
        Route::post("/api/chat/logout", "退出登录 (log out)", handlers::logout).is_true(),
    ]
}

impl Argument for AnyBearer {
    fn tell(route: &mut Route) {
        route.caller = Caller::Bearer;
        for refusal in [NO_TOKEN, BAD_TOKEN, DISABLED] {
            route.fail(400, refusal.to_string());
        }
    }
}

impl Argument for CurrentUser {
    fn tell(route: &mut Route) {
        AnyBearer::tell(route);
        route.fail(400, VISITOR.to_string());
    }
}

impl Argument for RegisteredUser {
    fn tell(route: &mut Route) {
        CurrentUser::tell(route);
        route.caller = Caller::User;
    }
}

impl Argument for ClientAddress {}
