//! ffmpeg in a cage: one frame of a local file as a picture.
//!
//! It may open nothing but files of plain video formats (no playlists, which name other files and hosts), has bounds on
//! time, memory and the size of frames and pictures, and writes to a pipe: a killed one leaves nothing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::RwLock;
use std::time::Duration;

use ffmpeg_sidecar::command::FfmpegCommand;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::error::Result;
use crate::os::EXE_SUFFIX;

/// What ffmpeg may take a file for: containers that hold their own frames.
const FORMATS: &str = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpeg,mpegts,ogg,asf,h264,hevc";
/// What it may decode; the fewer decoders a hostile file can reach, the better.
const CODECS: &str = "h264,hevc,vp8,vp9,av1,libdav1d,libaom-av1,mpeg4,msmpeg4v3,h263,flv,mpeg1video,mpeg2video,mjpeg,prores,\
                      theora,wmv1,wmv2,wmv3";
/// Largest frame that is decoded: 8K.
const PIXELS_MAX: &str = "33177600";
/// Largest single allocation inside ffmpeg.
const ALLOCATION_BYTES_MAX: &str = "268435456";
/// Most address space it gets.
const MEMORY_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Largest picture that is taken from it.
const PICTURE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How much of its complaints is kept for the log.
const WORDS_BYTES_MAX: u64 = 2048;

/// Up to here a moment is one of the beginning: the app asks for 20 ms.
const BEGINNING_MS: f64 = 1000.0;

/// The frame that is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Shot {
    /// Where in the video.
    pub at_ms: f64,
    /// How wide; the video's own width if none. The height keeps the shape.
    pub width: Option<u16>,
    /// As what.
    pub format: Format,
}

/// How a picture is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Without loss.
    Png,
    /// Small.
    Jpeg,
}

impl Format {
    /// As the client names it.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "png" => Some(Self::Png),
            "jpg" | "jpeg" => Some(Self::Jpeg),
            _ => None,
        }
    }
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum NoCover {
    /// There is no ffmpeg on this machine.
    #[error("there is no ffmpeg")]
    NoFfmpeg,
    /// It took too long and was killed.
    #[error("ffmpeg took too long")]
    Slow,
    /// This video has no such frame, or is none.
    #[error("ffmpeg refused: {0}")]
    Refused(String),
    /// It could not be run, or its work could not be kept.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// The program, and who may have it.
#[derive(Debug)]
pub struct Ffmpeg {
    path: RwLock<Option<PathBuf>>,
    /// Programs that run another one politely and within bounds, with their arguments.
    wrappers: Vec<OsString>,
    slots: Semaphore,
    timeout: Duration,
}

impl Ffmpeg {
    /// Looks for it: where the configuration says, on the PATH, or where an earlier start has put one.
    pub fn new(config: &Config) -> Self {
        let name = format!("ffmpeg{EXE_SUFFIX}");
        let own = config.data_dir.join("ffmpeg").join(&name);
        let path = match config.covers.ffmpeg_path.as_str() {
            "" => on_path(&name).or_else(|| own.is_file().then_some(own)),
            path => Some(PathBuf::from(path)).filter(|path| path.is_file()),
        };
        Self {
            path: RwLock::new(path),
            wrappers: wrappers(),
            slots: Semaphore::new(config.covers.parallel_max),
            timeout: Duration::from_secs(config.covers.timeout_s),
        }
    }

    /// Where it is, if it is anywhere.
    pub fn path(&self) -> Option<PathBuf> {
        self.path.read().expect("no code panics while it holds this lock").clone()
    }

    /// The picture.
    pub async fn shoot(&self, video: &Path, shot: &Shot) -> Result<Vec<u8>, NoCover> {
        let ffmpeg = self.path().ok_or(NoCover::NoFfmpeg)?;
        let _slot = self.slots.acquire().await.expect("the semaphore is never closed");
        let picture = self.run(&ffmpeg, video, shot).await?;
        // The app asks for a moment just after the beginning: a video of one frame is over by then.
        let picture = if picture.is_empty() && shot.at_ms <= BEGINNING_MS {
            self.run(&ffmpeg, video, &Shot { at_ms: 0.0, ..*shot }).await?
        } else {
            picture
        };
        if picture.is_empty() {
            return Err(NoCover::Refused("there is no frame at that time".to_owned()));
        }
        Ok(picture)
    }

    /// The picture, empty if the video is over before that time.
    async fn run(&self, ffmpeg: &Path, video: &Path, shot: &Shot) -> Result<Vec<u8>, NoCover> {
        let mut command = self.command(ffmpeg);
        arguments(&mut command, video, shot);
        // Only the command is ffmpeg-sidecar's: its own child neither ends in time nor goes away when it is dropped.
        let mut command = Command::from(std::process::Command::from(command));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let Ok(finished) = tokio::time::timeout(self.timeout, finish(&mut child)).await else {
            child.kill().await?;
            return Err(NoCover::Slow);
        };
        finished
    }

    fn command(&self, ffmpeg: &Path) -> FfmpegCommand {
        let mut words = self.wrappers.iter().map(OsString::as_os_str).chain([ffmpeg.as_os_str()]);
        // From a plain command: the constructor that takes a path puts options of its own right after it.
        let mut command = std::process::Command::new(words.next().expect("ffmpeg at least is a word"));
        command.args(words);
        FfmpegCommand::from(command)
    }

    /// Downloads a build of ffmpeg into `data_dir`, by ffmpeg-sidecar.
    #[cfg(feature = "ffmpeg-download")]
    pub async fn fetch(&self, data_dir: &Path) {
        use ffmpeg_sidecar::download::{download_ffmpeg_package, ffmpeg_download_url, unpack_ffmpeg_without_extras};
        let folder = data_dir.join("ffmpeg");
        let binary = folder.join(format!("ffmpeg{EXE_SUFFIX}"));
        tracing::info!("downloading ffmpeg into {}", folder.display());
        let work = tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&folder)?;
            let archive = download_ffmpeg_package(ffmpeg_download_url()?, &folder)?;
            unpack_ffmpeg_without_extras(&archive, &folder)
        });
        match work.await {
            Ok(Ok(())) if binary.is_file() => {
                tracing::info!("ffmpeg was downloaded to {}", binary.display());
                *self.path.write().expect("no code panics while it holds this lock") = Some(binary);
            }
            Ok(Err(cause)) => tracing::warn!(%cause, "ffmpeg could not be downloaded; there will be no covers"),
            _ => tracing::warn!("ffmpeg could not be downloaded; there will be no covers"),
        }
    }
}

fn arguments(command: &mut FfmpegCommand, video: &Path, shot: &Shot) {
    command.args(["-nostdin", "-y", "-hide_banner", "-loglevel", "error"]);
    command.args(["-max_alloc", ALLOCATION_BYTES_MAX, "-filter_threads", "1"]);
    command.args(["-threads", "1", "-protocol_whitelist", "file,pipe", "-format_whitelist", FORMATS]);
    command.args(["-codec_whitelist", CODECS, "-max_pixels", PIXELS_MAX]);
    command.args(["-ss", &format!("{:.3}", shot.at_ms / 1000.0)]);
    // With its protocol, so that a colon in a name is not taken for one.
    let mut input = OsString::from("file:");
    input.push(video);
    command.input(input);
    command.args(["-map", "0:v:0", "-frames:v", "1", "-an", "-sn", "-dn", "-threads", "1"]);
    if let Some(width) = shot.width {
        command.args(["-vf", &format!("scale={width}:'max(1,round(ow*ih/iw))'")]);
    }
    match shot.format {
        Format::Png => command.args(["-c:v", "png", "-pix_fmt", "rgb24"]),
        Format::Jpeg => command.args(["-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-q:v", "3"]),
    };
    command.args(["-f", "image2pipe", "pipe:1"]);
}

/// Reads what ffmpeg writes and waits for its end.
async fn finish(child: &mut Child) -> Result<Vec<u8>, NoCover> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (picture, words) = tokio::join!(read(stdout, PICTURE_BYTES_MAX + 1), async {
        let mut stderr = stderr;
        let words = read(stderr.as_mut(), WORDS_BYTES_MAX).await;
        // Read on: a full pipe would stop it, a closed one kill it.
        if let Some(stderr) = &mut stderr {
            tokio::io::copy(stderr, &mut tokio::io::sink()).await?;
        }
        words
    });
    let status = child.wait().await?;
    let (picture, words) = (picture?, words?);
    if picture.len() as u64 > PICTURE_BYTES_MAX {
        return Err(NoCover::Refused("the picture is too large".to_owned()));
    }
    if !status.success() {
        return Err(NoCover::Refused(format!("{status}: {}", String::from_utf8_lossy(&words).trim())));
    }
    Ok(picture)
}

/// Up to `bytes_max` bytes; the pipe is closed then if it was given away.
async fn read(pipe: Option<impl AsyncRead + Unpin>, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(bytes_max).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// `nice`, because chat comes first, and `prlimit`, because a process's own bounds are only promises. Every Linux has both;
/// where one is missing it is done without.
fn wrappers() -> Vec<OsString> {
    let nice = on_path("nice").map(|nice| [nice.into(), "-n".into(), "15".into()]);
    let prlimit = on_path("prlimit").map(|prlimit| [prlimit.into(), format!("--as={MEMORY_BYTES_MAX}").into()]);
    nice.into_iter().flatten().chain(prlimit.into_iter().flatten()).collect()
}

/// A program on the PATH.
fn on_path(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())
}
