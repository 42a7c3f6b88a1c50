//! Group fan-out: first several messages on their way at once (throughput), then one at a time (time to the last socket).

use crate::{
    failure::Failure,
    fan::Fan,
    figures::{Findings, Goal},
    server::{CHEAP_PASSWORDS, Server},
    setting::Setting,
};

const STREAMS: usize = 8;

pub async fn run(setting: &Setting, members: usize) -> Result<Findings, Failure> {
    let server = Server::start(setting, CHEAP_PASSWORDS).await?;
    let mut fan = Fan::prepare(&server, "fan", members, members).await?;
    let busy = fan.run(server.pid(), setting, STREAMS).await?;
    let mut calm = fan.run(server.pid(), setting, 1).await?;

    let goal = |goal| if members >= 500 { goal } else { Goal::Told };
    let mut findings = Findings::default();
    findings.tell("CPU a delivery, µs", busy.cpu_micros_a_delivery, goal(Goal::AtMost(8.0)));
    findings.tell("deliveries/s", busy.deliveries_a_second, goal(Goal::AtLeast(120_000.0)));
    findings.tell("CPU a delivery, one message at a time, µs", calm.cpu_micros_a_delivery, Goal::Told);
    findings.tell("send to last socket p50, ms", calm.complete.quantile_ms(0.5), Goal::Told);
    findings.tell("send to last socket p99, ms", calm.complete.quantile_ms(0.99), Goal::Told);
    findings.tell("send to answer p50, ms", calm.answered.quantile_ms(0.5), Goal::Told);
    findings.alarms.extend(busy.alarms.into_iter().chain(calm.alarms));
    Ok(findings)
}
