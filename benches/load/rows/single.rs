//! Single chat at saturation: each sender's next message follows the answer to its last one.

use crate::{
    chat::{Chat, Pace},
    failure::Failure,
    figures::{Findings, Goal, millis},
    machine, procfs,
    server::{CHEAP_PASSWORDS, Server},
    setting::{Engine, Setting, Target},
};

pub async fn run(setting: &Setting, senders: usize) -> Result<Findings, Failure> {
    let server = Server::start(setting, CHEAP_PASSWORDS).await?;
    let mut chat = Chat::prepare(server.address, senders, "chat").await?;
    let on_mysql = setting.engine == Engine::Mysql && setting.target == Target::Server;
    let mysql = on_mysql.then(procfs::mysql_server).flatten();
    let pace = Pace { warm_up: setting.warm_up, measured: setting.measured, gap: None };
    let mut report = chat.run(server.pid(), mysql, pace).await?;

    let saturated = senders == 64;
    let goal = |goal| if saturated { goal } else { Goal::Told };
    let (cpu, rate, p99) = match setting.engine {
        Engine::Sqlite => (Goal::AtMost(45.0), Goal::AtLeast(20_000.0), Goal::AtMost(12.0)),
        Engine::Mysql => (Goal::Told, Goal::AtLeast(8_000.0), Goal::Told),
    };
    let mut findings = Findings { alarms: report.alarms, ..Findings::default() };
    findings.tell("CPU a message, µs", report.cpu_micros_a_message, goal(cpu));
    if let Some(micros) = report.mysql_micros_a_message {
        findings.tell("CPU of MySQL a message, µs", micros, Goal::Told);
    }
    findings.tell("messages/s", report.messages_a_second, goal(rate));
    let p50 = report.delivered.quantile_ms(0.5);
    findings.tell("send to delivery p50, ms", p50, Goal::Told);
    if senders == 1 && setting.engine == Engine::Sqlite && setting.target == Target::Server {
        let sync_ms = millis(machine::sync_time()?);
        findings.tell("that above one fsync, ms", p50 - sync_ms, Goal::AtMost(0.3));
    }
    findings.tell("send to delivery p99, ms", report.delivered.quantile_ms(0.99), goal(p99));
    findings.tell("send to answer p50, ms", report.answered.quantile_ms(0.5), Goal::Told);
    findings.tell("send to answer p99, ms", report.answered.quantile_ms(0.99), Goal::Told);
    Ok(findings)
}
