//! What absent members cost: a group of 3,000 with 10 online against a group of 11 with the same 10 online, where only
//! the absent differ, and against a group of 3 with 2 online, which has 8 deliveries less to make.

use crate::{
    failure::Failure,
    fan::{Fan, Report},
    figures::{Findings, Goal},
    server::{CHEAP_PASSWORDS, Server},
    setting::Setting,
};

const STREAMS: usize = 8;

pub async fn run(setting: &Setting) -> Result<Findings, Failure> {
    let large = measure(setting, 2999, 10).await?;
    let large_two = measure(setting, 2999, 2).await?;
    let eleven = measure(setting, 10, 10).await?;
    let three = measure(setting, 2, 2).await?;

    let mut findings = Findings::default();
    let cpu = |report: &Report| report.cpu_micros_a_message;
    findings.tell("CPU, 3,000 with 2 online ÷ group of 3", cpu(&large_two) / cpu(&three), Goal::AtMost(1.2));
    findings.tell("CPU, 3,000 with 10 online ÷ group of 11", cpu(&large) / cpu(&eleven), Goal::AtMost(1.2));
    findings.tell("CPU a message, 3,000 with 10 online, µs", cpu(&large), Goal::Told);
    findings.tell("CPU a message, group of 11, µs", cpu(&eleven), Goal::Told);
    findings.tell("CPU a message, group of 3, µs", cpu(&three), Goal::Told);
    findings.tell("messages/s, 3,000 with 10 online", large.messages_a_second, Goal::Told);
    findings.tell("messages/s, group of 11", eleven.messages_a_second, Goal::Told);
    findings.alarms = [large, large_two, eleven, three].into_iter().flat_map(|report| report.alarms).collect();
    Ok(findings)
}

async fn measure(setting: &Setting, others: usize, online: usize) -> Result<Report, Failure> {
    let server = Server::start(setting, CHEAP_PASSWORDS).await?;
    let mut fan = Fan::prepare(&server, "fan", others, online).await?;
    fan.run(server.pid(), setting, STREAMS).await
}
