//! Routes of media (API document chapters 29, 30, 31).

use std::net::IpAddr;

use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;
use tracing::error;
use utoipa::ToSchema;

use super::ffmpeg::{Format, Shot};
use super::service::{self, Code, Folder};
use super::{form, qrcode};
use crate::accounts::auth::{ClientAddress, CurrentUser};
use crate::app::Shared;
use crate::error::{AppError, Result};
use crate::http::conditional::Preconditions;
use crate::http::fields::{is_truthy, shown};
use crate::http::origin::Origin;
use crate::http::proxies::base_url;
use crate::http::{Draft, Fields, Params, Payload, bare, ok};
use crate::ids::UserId;

/// `POST /api/chat/uploadStreamSingleToServerDiy/:diydir`
pub async fn upload_to_server(
    State(app): State<Shared>,
    CurrentUser(me): CurrentUser,
    ClientAddress(ip): ClientAddress,
    path: UploadPath,
    request: Request,
) -> Result<Response> {
    let folder = Folder::parse(&path.0)?;
    let _place = service::upload_place(&app, me.user.id, ip).await?;
    let upload = form::receive(&app, request, None).await?;
    let url = service::keep_on_server(&app, &folder, upload).await?;
    Ok(ok(Uploaded { url }))
}

/// Where an uploaded file is, without a host.
#[derive(Serialize, ToSchema)]
pub(super) struct Uploaded {
    /// A path that begins with `/public/uploads/`.
    url: String,
}

/// The `:diydir` of an upload; one that is no text at all names no folder.
#[derive(Debug)]
pub struct UploadPath(String);

impl<S: Send + Sync> FromRequestParts<S> for UploadPath {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let path = RawPathParams::from_request_parts(parts, state).await.ok();
        let folder = path.as_ref().and_then(|path| path.iter().next().map(|(_, value)| value.to_owned()));
        Ok(Self(folder.unwrap_or_default()))
    }
}

/// `POST /api/chat/uploadAliyun`: every failure is a 400 that begins with the same words.
pub async fn upload_to_aliyun(
    State(app): State<Shared>,
    CurrentUser(me): CurrentUser,
    ClientAddress(ip): ClientAddress,
    request: Request,
) -> Response {
    share(app, me.user.id, ip, request).await.unwrap_or_else(|cause| {
        if let AppError::Internal(source) | AppError::Busy(Some(source)) = &cause {
            error!(cause = %source, "an upload failed because of a server fault");
        }
        AppError::Refused(format!("上传失败: {cause}").into()).into_response()
    })
}

async fn share(app: Shared, me: UserId, ip: IpAddr, request: Request) -> Result<Response> {
    let query = request.uri().query().unwrap_or_default();
    // The query's only: the form's field of the same name is ignored, as it always was.
    let class_id = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "imageClassId");
    let class_id = class_id.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let base = match app.config.uploads.base_url.trim_end_matches('/') {
        "" => {
            let origin = request.extensions().get::<Origin>();
            let peer = origin.ok_or_else(|| AppError::internal("a request without an origin"))?.peer;
            // Without a usable Host the URL has none; the client puts its own before a path.
            base_url(peer, request.headers(), &app.config.http.trusted_proxies).unwrap_or_default()
        }
        base => base.to_owned(),
    };
    let _place = service::upload_place(&app, me, ip).await?;
    let upload = form::receive(&app, request, Some("img")).await?;
    let shared = service::share(&app, upload, class_id, &base).await?;
    Ok(bare(&AliyunReply { code: 200, msg: "ok", data: [shared] }))
}

/// The reply has a `code` as well.
#[derive(Serialize, ToSchema)]
pub(super) struct AliyunReply {
    /// Always 200.
    code: u16,
    /// Always `ok`.
    msg: &'static str,
    /// The file.
    data: [service::SharedFile; 1],
}

/// A cover that is asked for. Checked in the old order, each rule a 400 of its own; `time` and `width` are replied in the
/// type in which they came.
#[derive(Debug)]
pub struct CoverDraft {
    video_url: String,
    shot: Shot,
    time: Value,
    width: Value,
    format: String,
}

impl Draft for CoverDraft {
    fn read(fields: &Fields) -> Result<Self> {
        // Whatever JavaScript takes for false was none: `null` is no address either.
        let video_url = fields.raw("videoUrl").filter(|url| is_truthy(url));
        let video_url = video_url.map(|url| shown(url).into_owned()).ok_or(AppError::refused("视频地址不能为空"))?;
        let time = fields.raw("time").cloned().unwrap_or_default();
        let at_ms = number(&time).filter(|ms| *ms >= 0.0).ok_or(AppError::refused("时间点参数无效"))?;
        let width = fields.raw("width").filter(|value| !matches!(value, Value::Null) && *value != "").cloned();
        let pixels =
            width.as_ref().map(|value| pixels(value).ok_or(AppError::refused("图片宽度应在1-3840之间"))).transpose()?;
        let format = fields.text("format").unwrap_or_else(|| "png".to_owned());
        let known = Format::parse(&format).ok_or(AppError::refused("截图处理失败: 图片格式应为png、jpg或jpeg"))?;
        Ok(Self {
            video_url,
            shot: Shot { at_ms, width: pixels, format: known },
            time,
            width: width.unwrap_or_else(|| "原始宽度".into()),
            format,
        })
    }
}

fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number| number.is_finite())
}

fn pixels(value: &Value) -> Option<u16> {
    let text = match value {
        Value::Number(_) => shown(value),
        Value::String(text) => text.trim().into(),
        _ => return None,
    };
    text.parse().ok().filter(|pixels| (1..=3840).contains(pixels))
}

/// The cover of a video.
#[derive(Serialize, ToSchema)]
pub(super) struct CoverReply {
    /// The picture as a data URL.
    base64: String,
    /// Where it is kept: a path on this server.
    url: String,
    /// `png`, `jpg` or `jpeg`, as asked.
    format: String,
    /// As asked.
    time: Value,
    /// As asked, or `原始宽度`.
    width: Value,
}

/// `POST /api/chat/getVideoScreenshot`
pub async fn cover(
    State(app): State<Shared>,
    CurrentUser(me): CurrentUser,
    ClientAddress(ip): ClientAddress,
    Payload(draft): Payload<CoverDraft>,
) -> Result<Response> {
    let CoverDraft { video_url, shot, time, width, format } = draft;
    let cover = service::cover(&app, me.user.id, ip, &video_url, &shot, &format).await?;
    let base64 = format!("data:image/{format};base64,{}", STANDARD.encode(&cover.picture));
    Ok(ok(CoverReply { base64, url: cover.url, format, time, width }))
}

/// A QR code that is asked for.
#[derive(Debug)]
pub struct CodeDraft(Code);

impl Draft for CodeDraft {
    fn read(fields: &Fields) -> Result<Self> {
        let text = |name| fields.text(name).unwrap_or_default();
        let page = fields.text("http").filter(|_| text("type") == "H5");
        Ok(Self(Code { id: text("id").parse().ok(), chat_type: fields.text("chatType"), page }))
    }
}

/// `GET /api/chat/groupQrcode/:id`: shown as a picture, so its token is in the query.
pub async fn qr_code(
    State(app): State<Shared>,
    CurrentUser(me): CurrentUser,
    headers: HeaderMap,
    Params(CodeDraft(code)): Params<CodeDraft>,
) -> Result<Response> {
    let text = service::code_text(&app, me.user.id, &code).await?;
    let etag = qrcode::etag(&text);
    let mut response = if Preconditions::new(&headers).has(&etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = Response::new(service::code_picture(&app, me.user.id, text).await?.into());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("image/png"));
        response
    };
    // Asked for again each time: who has left the group gets no more of them.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    response.headers_mut().insert(header::ETAG, HeaderValue::try_from(etag).map_err(AppError::internal)?);
    Ok(response)
}
