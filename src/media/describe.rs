//! What the routes of media are.

use super::handlers::{self, AliyunReply, CoverReply, UploadPath, Uploaded};
use super::public;
use crate::http::describe::{Argument, Route};
use crate::http::fields::{Field, Kind};

const TOO_MANY: &str = "上传任务过多，请稍后再试";
const BAD_FORM: [&str; 3] = ["Content-Type must be multipart/*", "Can't found upload file", "上传超时，请重试"];

/// Routes of this feature.
pub fn routes() -> Vec<Route> {
    let code_of = Field {
        about: "Of a group; with `chatType=single`, of a person.",
        ..required("id", Kind::Int { min: 1, max: i64::MAX })
    };
    vec![
        Route::get("/api/chat/groupQrcode/{id}", "二维码 (a group's or my QR code)", handlers::qr_code)
            .note("Made for `<image src>`: the token may come in the query.")
            .note("`chatType` is `group` if it is left out; `type=H5` with `http` makes a page's address of it.")
            .field(code_of)
            .field(optional("type", Kind::Text { min: 0, max: 20 }))
            .field(optional("http", Kind::Text { min: 0, max: 1000 }))
            .field(optional("chatType", Kind::Text { min: 0, max: 20 }))
            .also(200, "图片 (a picture)", &["image/png"])
            .also(304, "未改变 (not modified)", &[])
            .refuses(&["群不存在或被封禁或者您不在该群聊中", "用户不存在或被封禁", "二维码内容过长"]),
        Route::post(
            "/api/chat/uploadStreamSingleToServerDiy/{diydir}",
            "上传文件 (upload a file)",
            handlers::upload_to_server,
        )
        .note("The first file of the form, whatever its field; each `_` of `diydir` begins a folder inside.")
        .file("file")
        .data::<Uploaded>()
        .refuses(&["上传目录名称不合法", TOO_MANY])
        .refuses(&BAD_FORM)
        .fails_like(400, "^Invalid filename: [\\s\\S]*$", "Invalid filename: a.exe")
        .fails(413, "Request file too large, please check multipart config"),
        Route::post("/api/chat/uploadAliyun", "上传到云存储 (upload a file to OSS)", handlers::upload_to_aliyun)
            .note("Without OSS the file is kept by this server, and the reply has the same shape.")
            .note("`imageClassId` comes in the query.")
            .field(optional("imageClassId", Kind::Int { min: 0, max: i64::MAX }))
            .file("img")
            .bare::<AliyunReply>()
            .fails_like(400, "^上传失败: [\\s\\S]*$", "上传失败: Expected field 'img', but got 'file'"),
        Route::post("/api/chat/getVideoScreenshot", "视频截图 (a picture of a video)", handlers::cover)
            .note("Of a video that was uploaded here, or on an allowed host. `time` is in milliseconds.")
            .field(required("videoUrl", Kind::Text { min: 1, max: 2000 }))
            .field(required("time", Kind::Int { min: 0, max: i64::from(u32::MAX) }))
            .field(optional("width", Kind::Int { min: 1, max: 3840 }))
            .field(optional("format", Kind::Word(vec!["png", "jpg", "jpeg"])))
            .data::<CoverReply>()
            .refuses(&[
                "视频地址不能为空",
                "时间点参数无效",
                "图片宽度应在1-3840之间",
                "截图任务过多，请稍后再试",
                "截图生成失败",
                "截图处理失败: 图片格式应为png、jpg或jpeg",
            ])
            .fails_like(400, "^截图处理失败: 服务器内部错误$", "截图处理失败: 服务器内部错误"),
        Route::get("/public/{*path}", "文件 (a file of this server)", public::serve)
            .note("With ranges and conditional requests. Uploads that a browser could run come as attachments.")
            .note("The slashes of `path` stay plain: with `%2F` in their place there is no such file.")
            .field(required("path", Kind::Text { min: 1, max: 1000 }))
            .also(200, "文件 (the file)", &["*/*"])
            .also(206, "部分 (a part of it)", &["*/*"])
            .also(304, "未改变 (not modified)", &[])
            .also(416, "范围无效 (no such part)", &[]),
        Route::get("/public/", "首页 (the operator's own page)", public::serve)
            .also(200, "网页 (a page)", &["text/html"])
            .also(304, "未改变 (not modified)", &[])
            .fails(404, "404 错误"),
    ]
}

fn optional(name: &str, kind: Kind) -> Field {
    Field { name: name.to_owned(), label: String::new(), about: "", kind, required: false }
}

fn required(name: &str, kind: Kind) -> Field {
    Field { required: true, ..optional(name, kind) }
}

impl Argument for UploadPath {
    fn tell(route: &mut Route) {
        route.fields.push(required("diydir", Kind::Text { min: 1, max: 100 }));
    }
}
