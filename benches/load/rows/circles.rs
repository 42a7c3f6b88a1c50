//! What a message costs because it goes to a group: as `single-*`, but each pair writes in a group of its own.

use crate::{
    chat::{Chat, Pace},
    failure::Failure,
    figures::{Findings, Goal},
    procfs,
    server::{CHEAP_PASSWORDS, Server},
    setting::{Engine, Setting},
};

pub async fn run(setting: &Setting, senders: usize) -> Result<Findings, Failure> {
    let server = Server::start(setting, CHEAP_PASSWORDS).await?;
    let mut chat = Chat::prepare_in_groups(&server, senders, "circle").await?;
    let mysql = (setting.engine == Engine::Mysql).then(procfs::mysql_server).flatten();
    let pace = Pace { warm_up: setting.warm_up, measured: setting.measured, gap: None };
    let mut report = chat.run(server.pid(), mysql, pace).await?;

    let mut findings = Findings { alarms: report.alarms, ..Findings::default() };
    findings.tell("CPU a message, µs", report.cpu_micros_a_message, Goal::Told);
    if let Some(micros) = report.mysql_micros_a_message {
        findings.tell("CPU of MySQL a message, µs", micros, Goal::Told);
    }
    findings.tell("messages/s", report.messages_a_second, Goal::Told);
    findings.tell("send to delivery p50, ms", report.delivered.quantile_ms(0.5), Goal::Told);
    findings.tell("send to delivery p99, ms", report.delivered.quantile_ms(0.99), Goal::Told);
    Ok(findings)
}
