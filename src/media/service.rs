//! The rules of media: where uploads go, and of whom covers and QR codes are made.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Url;
use serde::Serialize;
use tokio::sync::SemaphorePermit;
use tracing::{error, info, warn};
use utoipa::ToSchema;

use super::ffmpeg::{NoCover, Shot};
use super::form::Upload;
use super::places::Place;
use super::qrcode;
use crate::accounts;
use crate::app::App;
use crate::blobs::{Failure, Kept, Label, Spooled};
use crate::clock;
use crate::error::{AppError, Result};
use crate::groups;
use crate::http::network::turn_of;
use crate::ids::{GroupId, UserId};
use crate::limits::Share;
use crate::os;

/// Uploads of one person at once; the client sends up to nine pictures together.
pub(super) const UPLOADS_BY_USER_MAX: usize = 16;
/// Of the places for uploads, one network gets one part in so many, or what one person may have: uploads that crawl must not take
/// all of them.
pub(super) const UPLOADS_SHARE: usize = 4;
/// Covers that one person may wait for: one for each file that the client sends together.
pub(super) const COVERS_BY_USER_MAX: usize = 9;
/// QR codes drawn at once: each takes a core, and a picture of a megabyte, for some milliseconds.
pub(super) const DRAWS_MAX: usize = 2;
/// Of one person: codes that are drawn or wait for it in the one queue of all.
pub(super) const DRAWS_BY_USER_MAX: usize = 4;
/// How long an upload waits for a place.
const PLACE_PATIENCE: Duration = Duration::from_secs(30);
/// Characters of a folder's name.
const FOLDER_MAX: usize = 100;
/// Folders in one another that it may name: each takes a place on the disk.
const NESTED_MAX: usize = 8;

const TOO_MANY: AppError = AppError::refused("上传任务过多，请稍后再试");
const TOO_MANY_COVERS: AppError = AppError::refused("截图任务过多，请稍后再试");
const BAD_FOLDER: AppError = AppError::refused("上传目录名称不合法");
const NO_COVER: AppError = AppError::refused("截图生成失败");
const NO_GROUP: AppError = AppError::refused("群不存在或被封禁或者您不在该群聊中");
const NO_USER: AppError = AppError::refused("用户不存在或被封禁");

/// One of the places for uploads.
#[derive(Debug)]
pub struct UploadPlace<'a> {
    _slot: SemaphorePermit<'a>,
    _by_user: Share<UserId>,
    _by_network: Option<Share<IpAddr>>,
}

/// Waits for a place among the uploads, and for one of its network's; a person who has many already is refused. Loopback is
/// exempt: it may be everybody, behind a proxy that is missing from `http.trusted_proxies`.
pub async fn upload_place(app: &App, user: UserId, ip: IpAddr) -> Result<UploadPlace<'_>> {
    let by_user = app.media.uploads_by_user.take(user, 1).ok_or(TOO_MANY)?;
    let place = async {
        let by_network = turn_of(&app.media.uploads_by_network, ip).await;
        let slot = app.media.uploads.acquire().await.map_err(AppError::internal)?;
        Ok(UploadPlace { _slot: slot, _by_user: by_user, _by_network: by_network })
    };
    tokio::time::timeout(PLACE_PATIENCE, place).await.unwrap_or_else(|_| Err(AppError::busy()))
}

/// The folder that a client names for its uploads; each `_` begins a folder inside (contract: messaging 4.30a).
#[derive(Debug)]
pub struct Folder(String);

impl Folder {
    /// Letters, digits, `-` and `_` only (decision 22).
    pub fn parse(name: &str) -> Result<Self> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        let parts: Vec<&str> = name.split('_').filter(|part| !part.is_empty()).collect();
        let is_plain = name.bytes().all(allowed) && parts.iter().all(|part| os::is_plain_name(part));
        if name.len() > FOLDER_MAX || !(1..=NESTED_MAX).contains(&parts.len()) || !is_plain {
            return Err(BAD_FOLDER);
        }
        Ok(Self(parts.join("/")))
    }
}

/// Keeps a file on this server; returns its URL without a host.
pub async fn keep_on_server(app: &App, folder: &Folder, upload: Upload) -> Result<String> {
    let now_ms = app.clock.now_ms();
    let random = rand::random_range(0..100_000_000_u32);
    let extension = upload.file_type.extension;
    let key = format!("Diy/{}/{}/{now_ms}_{random}.{extension}", folder.0, clock::day_folder(now_ms));
    let bytes = upload.blob.len;
    app.blobs.disk.keep(upload.blob, &key).await.map_err(AppError::internal)?;
    app.metrics.uploads.bytes.inc_by(bytes);
    app.metrics.uploads.to_disk.inc();
    Ok(format!("/public/uploads/{key}"))
}

/// What `uploadAliyun` replies of a file.
#[derive(Debug, Serialize, ToSchema)]
pub struct SharedFile {
    /// Where it is, with the host.
    url: String,
    /// Its path in the bucket, or on this server.
    path: String,
    /// As asked.
    image_class_id: i64,
    /// In seconds since 1970.
    create_time: i64,
}

/// Keeps a file in the bucket, or on this server under `base` if there is none (decision 24).
pub async fn share(app: &App, upload: Upload, image_class_id: i64, base: &str) -> Result<SharedFile> {
    let now_ms = app.clock.now_ms();
    let random = rand::random_range(0..1_u64 << 48);
    let file_type = upload.file_type;
    let path = format!("images/{}/{now_ms}_{random:012x}.{}", clock::day_folder(now_ms), file_type.extension);
    let label = Label { mime: file_type.mime, attachment: !file_type.inline };
    let (counts, bytes) = (&app.metrics.uploads, upload.blob.len);
    let url = match app.blobs.put(upload.blob, &path, label, now_ms).await.map_err(told)? {
        Kept::Here => {
            counts.to_disk.inc();
            format!("{base}/public/uploads/{path}")
        }
        Kept::At(url) => {
            counts.to_bucket.inc();
            url
        }
    };
    counts.bytes.inc_by(bytes);
    Ok(SharedFile { url, path, image_class_id, create_time: now_ms / 1000 })
}

/// The user is told what kind of trouble it is; the log has the cause.
fn told(failure: Failure) -> AppError {
    let text = match &failure {
        // Logged with the reply.
        Failure::Disk(_) => return AppError::internal(failure),
        Failure::Refused(_) => {
            error!(cause = %failure, "an upload failed: check the keys of [oss]");
            return AppError::refused("存储服务拒绝了上传");
        }
        Failure::Unreachable(_) => "存储服务无法连接",
        Failure::Slow => "存储服务响应超时",
    };
    warn!(cause = %failure, "an upload failed");
    AppError::refused(text)
}

/// A picture that was made of a video.
#[derive(Debug)]
pub struct Cover {
    /// The picture.
    pub picture: Vec<u8>,
    /// Where it is kept, without a host.
    pub url: String,
}

/// Makes a picture of a video that this server has, or that is on a host it may ask (decision 23).
pub async fn cover(app: &App, me: UserId, ip: IpAddr, video_url: &str, shot: &Shot, extension: &str) -> Result<Cover> {
    let _share = app.media.covers_by_user.take(me, 1).ok_or(TOO_MANY_COVERS)?;
    let _turn = app.media.cover_turns.turn(me, 1).await;
    // A network has as many people as it likes.
    let _turn_of_network = turn_of(&app.media.cover_turns_by_network, ip).await;
    let picture = picture_of(app, video_url, shot).await.map_err(|cause| {
        app.metrics.uploads.covers_failed.inc();
        match &cause {
            NoCover::Io(cause) => error!(%cause, "a cover could not be made"),
            NoCover::Slow | NoCover::NoFfmpeg if app.media.told.slow_covers.is_due() => {
                warn!(%cause, "a cover could not be made (said once a minute)");
            }
            // As a literal: a hostile file has a say in ffmpeg's words, which must not look like lines of this log.
            NoCover::Refused(words) if app.media.told.refused_covers.is_due() => {
                info!(cause = ?words, "a cover could not be made (said once a minute)");
            }
            NoCover::Slow | NoCover::NoFfmpeg | NoCover::Refused(_) => {}
        }
        NO_COVER
    })?;
    let now_ms = app.clock.now_ms();
    let key = format!("Diy/VideoScreenshot/screenshot_{now_ms}_{}.{extension}", base36());
    keep_picture(app, &picture, &key).await.map_err(|cause| {
        error!(%cause, "a cover could not be kept");
        AppError::Refused(format!("截图处理失败: {}", AppError::internal("")).into())
    })?;
    app.metrics.uploads.covers.inc();
    Ok(Cover { picture, url: format!("/public/uploads/{key}") })
}

async fn picture_of(app: &App, video_url: &str, shot: &Shot) -> Result<Vec<u8>, NoCover> {
    let unknown = || NoCover::Refused(format!("not a video of this server or an allowed host: {video_url:.200}"));
    let base = Url::parse("http://this.server/").expect("a constant URL is valid");
    let url = base.join(video_url).map_err(|_| unknown())?;
    if let Some(own) = own_upload(app, &url) {
        return app.media.covers.ffmpeg.shoot(&own, shot).await;
    }
    let url = app.media.covers.allowed(&url).ok_or_else(unknown)?;
    let fetched: Spooled =
        app.media.covers.fetch_video(url, &app.blobs.disk, app.config.uploads.video_bytes_max).await?;
    app.media.covers.ffmpeg.shoot(fetched.path(), shot).await
}

/// The local file of a URL that points to an upload. Whatever host it names: behind a proxy this server does not know its
/// own, and a foreign one leads to nothing but what everybody may read here.
fn own_upload(app: &App, url: &Url) -> Option<std::path::PathBuf> {
    if !matches!(url.scheme(), "http" | "https") {
        return None;
    }
    let place = url.path().strip_prefix("/public/").and_then(Place::parse).filter(|place| place.upload)?;
    let path = app.config.public_dir.join(place.relative);
    path.is_file().then_some(path)
}

async fn keep_picture(app: &App, picture: &[u8], key: &str) -> std::io::Result<()> {
    let mut spool = app.blobs.disk.spool().await?;
    spool.write(picture).await?;
    app.blobs.disk.keep(spool.finish().await?, key).await
}

/// Six characters of 0-9 and a-z.
fn base36() -> String {
    let digits = b"0123456789abcdefghijklmnopqrstuvwxyz";
    (0..6).map(|_| char::from(digits[rand::random_range(0..digits.len())])).collect()
}

/// What a QR code is asked for (contract: messaging 4.29).
#[derive(Debug)]
pub struct Code {
    /// Of a group or a user; a text that is no number names nobody.
    pub id: Option<i64>,
    /// `group`, `single`, or something else, which is looked up as a user. An app names none.
    pub chat_type: Option<String>,
    /// For a browser: the page that the code leads to. An app gets a small JSON text.
    pub page: Option<String>,
}

/// The text of a QR code, for whoever may see it.
///
/// Without a type it is a group's, or my own: the app's page "My QR" sends my id and nothing else.
pub async fn code_text(app: &App, me: UserId, code: &Code) -> Result<String> {
    match code.chat_type.as_deref() {
        Some("group") => group_text(app, me, code).await,
        Some(_) => person_text(app, code).await,
        None => match group_text(app, me, code).await {
            Err(AppError::Refused(_)) if code.id == Some(me.0) => person_text(app, code).await,
            text => text,
        },
    }
}

async fn group_text(app: &App, me: UserId, code: &Code) -> Result<String> {
    let id = GroupId(code.id.ok_or(NO_GROUP)?);
    let room = groups::service::room(app, id).await?.ok_or(NO_GROUP)?;
    let inside = room.member(me).is_some_and(groups::model::Member::is_active);
    if !room.group.is_open() || !inside {
        return Err(NO_GROUP);
    }
    Ok(match &code.page {
        Some(http) => qrcode::group_page(http, id.0, &room.group.name),
        None => qrcode::app_text(id.0, &room.group.name, None),
    })
}

async fn person_text(app: &App, code: &Code) -> Result<String> {
    let id = UserId(code.id.ok_or(NO_USER)?);
    let user = accounts::service::user(app, id).await?.filter(|user| user.is_enabled()).ok_or(NO_USER)?;
    let name = user.display_name();
    match &code.page {
        Some(http) if code.chat_type.as_deref().is_none_or(|kind| kind == "single") => {
            Ok(qrcode::person_page(http, user.id.0, name, &user.avatar))
        }
        // The old server had no answer to this.
        Some(_) => Err(AppError::NotFound),
        None => Ok(qrcode::app_text(user.id.0, name, Some("single"))),
    }
}

/// The picture of a text, drawn once.
pub async fn code_picture(app: &App, me: UserId, text: String) -> Result<Bytes> {
    if let Some(picture) = app.media.qr_codes.get(&text) {
        return Ok(picture);
    }
    let share = app.media.draws_by_user.turn(me, 1).await;
    let slot = app.media.draws.clone().acquire_owned().await.map_err(AppError::internal)?;
    let drawn = tokio::task::spawn_blocking(move || {
        // The work goes on if nobody waits for it any more, and so does its turn.
        let _held = (share, slot);
        qrcode::draw(&text).map(|picture| (text, picture))
    });
    let (text, picture) = drawn.await.map_err(AppError::internal)??;
    app.media.qr_codes.insert(text, picture.clone());
    Ok(picture)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_hold_only_plain_characters() {
        assert_eq!(Folder::parse("chatImgs").unwrap().0, "chatImgs");
        assert_eq!(Folder::parse("a_b-1__c_").unwrap().0, "a/b-1/c");
        for bad in ["", "_", "..", "a/b", "a.b", "a\\b", "图片", "a b", "a\0", &"x".repeat(101)] {
            assert!(Folder::parse(bad).is_err(), "{bad}");
        }
        // A device of Windows.
        assert_eq!(Folder::parse("a_con").is_err(), cfg!(windows));
    }
}
