//! Start with an existing database, memory of a server that does nothing, size of the binary.

use std::{fs, time::Duration};

use tokio::time::sleep;

use crate::{
    chat::{Chat, Pace},
    failure::{Failure, While},
    figures::{Findings, Goal, float, millis},
    procfs,
    server::{CHEAP_PASSWORDS, Server},
    setting::Setting,
};

const PAIRS: usize = 64;
const IDLE_TIME: Duration = Duration::from_secs(3);

pub async fn run(setting: &Setting) -> Result<Findings, Failure> {
    let mut server = Server::start(setting, CHEAP_PASSWORDS).await?;
    let mut chat = Chat::prepare(server.address, PAIRS, "chat").await?;
    let pace = Pace { warm_up: Duration::ZERO, measured: setting.measured, gap: None };
    let report = chat.run(server.pid(), None, pace).await?;
    drop(chat);

    let after_stop = server.stop_and_start().await?;
    sleep(IDLE_TIME).await;
    let rss = procfs::rss_kib(server.pid())?;
    let after_kill = server.kill_and_start().await?;
    let size = fs::metadata(&setting.binary).doing("measuring the binary")?.len();

    let mut findings = Findings { alarms: report.alarms, ..Findings::default() };
    findings.tell("start to the first answer, ms", millis(after_stop), Goal::AtMost(150.0));
    findings.tell("the same after kill -9, ms", millis(after_kill), Goal::Told);
    findings.tell("RSS idle, MB", float(rss * 1024) / 1e6, Goal::AtMost(25.0));
    findings.tell("binary, MB", float(size) / 1e6, Goal::AtMost(40.0));
    Ok(findings)
}
