//! What the routes of questions and answers are. They refuse by a `code` inside a 200.

use super::handlers::{self, EntryRow, MISSING};
use crate::http::describe::Route;
use crate::http::fields::{Field, Kind};

/// Routes of this feature.
pub fn routes() -> Vec<Route> {
    let keyword = Field {
        name: "keyword".to_owned(),
        label: "问题".to_owned(),
        about: "",
        kind: Kind::Text { min: 1, max: handlers::ASK_MAX },
        required: false,
    };
    vec![
        one(
            Route::post("/api/chat/askanswer/create", "添加问答 (add an answer)", handlers::create),
            &["添加成功", "问答数量已达上限"],
        ),
        one(
            Route::post("/api/chat/askanswer/update", "修改问答 (change an answer)", handlers::update),
            &["更新成功", MISSING],
        ),
        Route::post("/api/chat/askanswer/delete", "删除问答 (delete an answer)", handlers::delete)
            .coded(None, &["删除成功", MISSING]),
        many(Route::post("/api/chat/askanswer/list", "问答列表 (my answers)", handlers::list), "获取成功"),
        one(
            Route::post("/api/chat/askanswer/detail", "问答详情 (one answer)", handlers::detail),
            &["获取成功", MISSING],
        ),
        many(
            Route::post("/api/chat/askanswer/search", "搜索问答 (answers to a question)", handlers::search),
            "搜索成功",
        )
        .note("`ask`, or `keyword` in its place.")
        .field(keyword),
    ]
}

fn one(mut route: Route, texts: &[&'static str]) -> Route {
    let entry = route.named::<EntryRow>();
    route.coded(Some(entry), texts)
}

fn many(mut route: Route, text: &'static str) -> Route {
    let entries = route.array_of::<EntryRow>();
    route.coded(Some(entries), &[text])
}
