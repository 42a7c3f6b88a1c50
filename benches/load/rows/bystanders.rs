//! What absent members cost: a group of 3,000 with 10 online against a group of 11 with the same 10 online, where only
//! the absent differ, and against a group of 3 with 2 online, which has 8 deliveries less to make. All groups are on one
//! server and take turns in short slices, so that nothing but the group differs.

use crate::{
    failure::Failure,
    fan::Fan,
    figures::{Findings, Goal},
    server::{CHEAP_PASSWORDS, Server},
    setting::Setting,
};

const STREAMS: usize = 8;
/// Turns of each group.
const SLICES: u32 = 8;

pub async fn run(setting: &Setting) -> Result<Findings, Failure> {
    let server = Server::start(setting, CHEAP_PASSWORDS).await?;
    let slice = Setting { warm_up: setting.warm_up / SLICES, measured: setting.measured / SLICES, ..setting.clone() };
    let mut groups = [
        Group::prepare(&server, "large", 2999, 10).await?,
        Group::prepare(&server, "largetwo", 2999, 2).await?,
        Group::prepare(&server, "eleven", 10, 10).await?,
        Group::prepare(&server, "three", 2, 2).await?,
    ];
    let mut findings = Findings::default();
    for _ in 0..SLICES {
        for group in &mut groups {
            let report = group.fan.run(server.pid(), &slice, STREAMS).await?;
            group.cpu.push(report.cpu_micros_a_message);
            group.rate.push(report.messages_a_second);
            findings.alarms.extend(report.alarms);
        }
    }
    let [large, large_two, eleven, three] = groups.each_ref().map(|group| median(&group.cpu));
    findings.tell("CPU, 3,000 with 2 online ÷ group of 3", large_two / three, Goal::AtMost(1.2));
    findings.tell("CPU, 3,000 with 10 online ÷ group of 11", large / eleven, Goal::AtMost(1.2));
    findings.tell("CPU a message, 3,000 with 10 online, µs", large, Goal::Told);
    findings.tell("CPU a message, group of 11, µs", eleven, Goal::Told);
    findings.tell("CPU a message, 3,000 with 2 online, µs", large_two, Goal::Told);
    findings.tell("CPU a message, group of 3, µs", three, Goal::Told);
    let [large, _, eleven, _] = groups.each_ref().map(|group| median(&group.rate));
    findings.tell("messages/s, 3,000 with 10 online", large, Goal::Told);
    findings.tell("messages/s, group of 11", eleven, Goal::Told);
    Ok(findings)
}

/// A group and what each of its turns found.
struct Group {
    fan: Fan,
    cpu: Vec<f64>,
    rate: Vec<f64>,
}

impl Group {
    async fn prepare(server: &Server, prefix: &str, others: usize, online: usize) -> Result<Self, Failure> {
        let fan = Fan::prepare(server, prefix, others, online).await?;
        Ok(Self { fan, cpu: Vec::new(), rate: Vec::new() })
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
    f64::midpoint(low, high)
}
