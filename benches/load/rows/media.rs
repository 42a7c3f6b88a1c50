//! Files: large uploads, many uploads at once, small downloads, QR codes, and what all that does to the chat.

use std::{
    fs::File,
    io::Write,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    apart::Apart,
    asking::{Asking, ask},
    chat::{Chat, Pace},
    failure::{Failure, While},
    figures::{Findings, Goal, float},
    files, http,
    people::{self, Person},
    procfs,
    server::{CHEAP_PASSWORDS, Server},
    setting::Setting,
};
use serde_json::json;

const MIB: usize = 1024 * 1024;
/// The largest upload that the defaults allow.
const LARGE: usize = 50 * MIB;
const MEDIUM: usize = 4 * MIB;
const SMALL: usize = 8 * 1024;
const MANY: usize = 64;
const CONNECTIONS: usize = 16;
const COVERS: usize = 4;
/// More than a run draws, so that a cold one is always cold.
const CODES: usize = 50_000;
const CHAT_PAIRS: usize = 16;
/// 200 messages a second, as beside logins.
const CHAT_GAP: Duration = Duration::from_millis(80);
const COPY_CHUNK: usize = 64 * 1024;
const COPIES: usize = 8;

/// One upload of 50 MB after the other, then 64 of 4 MB at once, each somebody else's.
pub async fn uploads(setting: &Setting) -> Result<Findings, Failure> {
    let server = Server::start(setting, CHEAP_PASSWORDS).await?;
    let me = people::register(server.address, "me", 1).await?.remove(0);
    let large = files::archive(LARGE);
    let copy = copy_a_second(&server, &large)?;
    let one = load(setting, &server, vec![files::upload(&me.token, "large.zip", &large)], LARGE).await?;
    drop(large);
    let many = load(setting, &server, medium_uploads(&server, MANY).await?, MEDIUM).await?;

    let mut findings = Findings::default();
    findings.tell("50 MB: MB/s", one.megabytes_a_second, Goal::Told);
    findings.tell("50 MB: MB/s ÷ a plain copy", one.megabytes_a_second / copy, Goal::Told);
    findings.tell("a plain copy, MB/s", copy, Goal::Told);
    findings.tell("50 MB: CPU a MB, ms", one.cpu_ms_a_megabyte, Goal::Told);
    findings.tell("50 MB: RSS growth at the peak, MiB", one.growth_mib, Goal::Told);
    findings.tell("64 at once: MB/s", many.megabytes_a_second, Goal::Told);
    findings.tell("64 at once: RSS growth at the peak, MiB", many.growth_mib, Goal::Told);
    Ok(findings)
}

/// One upload each of `count` people: the server bounds those of one.
async fn medium_uploads(server: &Server, count: usize) -> Result<Vec<Vec<u8>>, Failure> {
    let people = people::register(server.address, "upl", count).await?;
    let content = files::archive(MEDIUM);
    Ok(people.iter().map(|person| files::upload(&person.token, "medium.zip", &content)).collect())
}

struct Load {
    megabytes_a_second: f64,
    cpu_ms_a_megabyte: f64,
    growth_mib: f64,
}

async fn load(setting: &Setting, server: &Server, requests: Vec<Vec<u8>>, bytes: usize) -> Result<Load, Failure> {
    let before = procfs::rss_kib(server.pid())?;
    procfs::reset_peak(server.pid())?;
    let times = [setting.warm_up / 4, setting.measured];
    let connections = requests.len();
    let asked = ask(server, requests, connections, times).await?;
    let peak = procfs::peak_rss_kib(server.pid())?;
    let megabytes = float(bytes) / 1e6;
    Ok(Load {
        megabytes_a_second: asked.answers_a_second * megabytes,
        cpu_ms_a_megabyte: asked.cpu_ms_an_answer / megabytes,
        growth_mib: float(peak.saturating_sub(before)) / 1024.0,
    })
}

/// Megabytes a second of writing the same to files on the same disk, as an upload without a network would.
fn copy_a_second(server: &Server, content: &[u8]) -> Result<f64, Failure> {
    let begun = Instant::now();
    for copy in 0..COPIES {
        let path = server.directory.path().join(format!("copy-{copy}"));
        let mut file = File::create(path).doing("making a copy")?;
        content.chunks(COPY_CHUNK).try_for_each(|chunk| file.write_all(chunk)).doing("writing a copy")?;
    }
    Ok(float(COPIES * content.len()) / 1e6 / begun.elapsed().as_secs_f64())
}

/// A small picture, again and again.
pub async fn downloads(setting: &Setting) -> Result<Findings, Failure> {
    let server = Server::start(setting, CHEAP_PASSWORDS).await?;
    let me = people::register(server.address, "me", 1).await?.remove(0);
    let url = files::put(server.address, &me.token, "small.zip", &files::archive(SMALL)).await?;
    let request = http::request(&format!("GET {url}"), "", "");
    let mut asked = ask(&server, vec![request], CONNECTIONS, [setting.warm_up / 4, setting.measured / 2]).await?;

    let mut findings = Findings::default();
    findings.tell("downloads/s of 8 KiB", asked.answers_a_second, Goal::Told);
    findings.tell("CPU a download, µs", asked.cpu_ms_an_answer * 1e3, Goal::Told);
    findings.tell("time of a download p99, ms", asked.times.quantile_ms(0.99), Goal::Told);
    Ok(findings)
}

/// QR codes that were never drawn before, then one that was.
pub async fn qr_codes(setting: &Setting) -> Result<Findings, Failure> {
    let server = Server::start(setting, CHEAP_PASSWORDS).await?;
    let me = people::register(server.address, "me", 1).await?.remove(0);
    let request = |index: usize| {
        let page = format!("http%3A%2F%2Fload{index}.example%2F");
        let route = format!("GET /api/chat/groupQrcode/{}?type=H5&chatType=single&http={page}", me.id);
        http::request(&route, &me.token, "")
    };
    let times = [setting.warm_up / 4, setting.measured / 2];
    let mut cold = ask(&server, (0..CODES).map(request).collect(), CONNECTIONS, times).await?;
    let mut cached = ask(&server, vec![request(CODES)], CONNECTIONS, times).await?;

    let mut findings = Findings::default();
    findings.tell("drawn: codes/s", cold.answers_a_second, Goal::Told);
    findings.tell("drawn: CPU a code, ms", cold.cpu_ms_an_answer, Goal::Told);
    findings.tell("drawn: time of a code p99, ms", cold.times.quantile_ms(0.99), Goal::Told);
    findings.tell("cached: codes/s", cached.answers_a_second, Goal::Told);
    findings.tell("cached: CPU a code, ms", cached.cpu_ms_an_answer, Goal::Told);
    findings.tell("cached: time of a code p99, ms", cached.times.quantile_ms(0.99), Goal::Told);
    Ok(findings)
}

/// The chat alone, then beside 16 uploads and 4 covers at any time. Without ffmpeg there are no covers.
pub async fn beside_chat(setting: &Setting) -> Result<Findings, Failure> {
    let server = Server::start(setting, CHEAP_PASSWORDS).await?;
    let me = people::register(server.address, "me", 1).await?.remove(0);
    let covers = cover_requests(&server, &me).await?;
    let mut chat = Chat::prepare(server.address, CHAT_PAIRS, "chat").await?;
    let pace = Pace { warm_up: setting.warm_up, measured: setting.measured, gap: Some(CHAT_GAP) };
    let mut calm = chat.run(server.pid(), None, pace).await?;

    let (address, uploads) = (server.address, medium_uploads(&server, CONNECTIONS).await?);
    let lanes = if covers.is_empty() { 0 } else { COVERS };
    let media = Apart::start(move |until| async move {
        let mut uploading = Asking::start(address, uploads, CONNECTIONS);
        let mut covering = Asking::start(address, covers, lanes);
        let begun = Instant::now();
        let until = async {
            // An end of the row that was not planned is an end as well.
            let _ = until.await;
            Ok(())
        };
        uploading.beside(covering.beside(until)).await?;
        let seconds = begun.elapsed().as_secs_f64();
        Ok((uploading.stop().await?.count(), covering.stop().await?.count(), seconds))
    });
    let stormy = chat.run(server.pid(), None, pace).await;
    let (uploads, covers, seconds) = media.stop()?;
    let mut stormy = stormy?;

    let mut findings = Findings::default();
    let (calm_p99, stormy_p99) = (calm.delivered.quantile_ms(0.99), stormy.delivered.quantile_ms(0.99));
    findings.tell("chat p99 beside media ÷ without", stormy_p99 / calm_p99, Goal::Told);
    findings.tell("chat p50 without media, ms", calm.delivered.quantile_ms(0.5), Goal::Told);
    findings.tell("chat p99 without media, ms", calm_p99, Goal::Told);
    findings.tell("chat p50 beside media, ms", stormy.delivered.quantile_ms(0.5), Goal::Told);
    findings.tell("chat p99 beside media, ms", stormy_p99, Goal::Told);
    findings.tell("uploads beside it, MB/s", float(uploads * MEDIUM) / 1e6 / seconds, Goal::Told);
    findings.tell("covers/s beside it", float(covers) / seconds, Goal::Told);
    findings.alarms.extend(calm.alarms.into_iter().chain(stormy.alarms));
    Ok(findings)
}

/// Requests for covers of a film that ffmpeg makes; none without ffmpeg.
async fn cover_requests(server: &Server, me: &Person) -> Result<Vec<Vec<u8>>, Failure> {
    let path = server.directory.path().join("film.mp4");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-f", "lavfi", "-i", "testsrc=duration=5:size=1280x720:rate=25"]);
    command.args(["-pix_fmt", "yuv420p", "-y"]).arg(&path);
    let made = command.stdin(Stdio::null()).status();
    if !made.is_ok_and(|status| status.success()) {
        return Ok(Vec::new());
    }
    let film = std::fs::read(&path).doing("reading the film")?;
    let url = files::put(server.address, &me.token, "film.mp4", &film).await?;
    let url = format!("http://{}{url}", server.address);
    let body = |time: u32| json!({"videoUrl": url, "time": time, "width": 320, "format": "jpg"}).to_string();
    let request = |time| http::request("POST /api/chat/getVideoScreenshot", &me.token, &body(time));
    Ok((1..=4).map(|second| request(second * 1000)).collect())
}
