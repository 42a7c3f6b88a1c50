//! What the signed routes are.

use super::handlers::{self, Sign};
use crate::accounts::model::Account;
use crate::http::describe::{Argument, Route};

const TOO_MANY: &str = "请求过于频繁，请1个小时后再试";
const TAKEN: &str = "该账号已存在，请换一个账号注册";

/// Routes of this feature.
pub fn routes() -> Vec<Route> {
    vec![
        Route::post("/api/visitorRegister", "游客注册 (arrive as a guest)", handlers::arrive)
            .note("A device whose guest token is still valid gets that token again.")
            .data::<Account>()
            .refuses(&["账号不存在或者被禁用", TOO_MANY]),
        Route::post("/api/visitorregChat", "游客注册账号 (register on a device)", handlers::register)
            .note("The device's guest becomes the account: id, friends and chats are kept.")
            .data::<Account>()
            .invalid("账号 只能由字母、数字和下划线组成")
            .refuses(&[TAKEN, "账号不存在或者被禁用", TOO_MANY]),
        Route::post("/api/visitorloginChat", "游客登录账号 (log in on a device)", handlers::login)
            .data::<Account>()
            .refuses(&["账号不存在或者被禁用", "账户或密码错误", TOO_MANY]),
    ]
}

impl Argument for Sign {
    fn tell(route: &mut Route) {
        let what = "SHA-256 in hex of `deviceId=<deviceId>&salt=<salt>&timestamp=<timestamp>APP_SECRET`";
        route.headers.push(("X-Security-Sign", what));
        for refusal in ["非法访问", "非法签名", "请求已过期", "无效标识"] {
            route.fail(400, refusal);
        }
    }
}
