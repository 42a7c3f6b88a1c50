//! The whole friend list in one page, asked for again and again on one connection.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::{
    failure::{Failure, While},
    figures::{Findings, Goal, Times, float, micros},
    http::{self, Http},
    mark::now_ns,
    people,
    procfs::CpuReading,
    server::{CHEAP_PASSWORDS, Server},
    setting::Setting,
};

const ROUTE: &str = "GET /api/chat/goodfriendlist/1?limit=5000";

pub async fn run(setting: &Setting, count: usize) -> Result<Findings, Failure> {
    let server = Server::start(setting, CHEAP_PASSWORDS).await?;
    let me = people::register(server.address, "me", 1).await?.remove(0);
    let friends = people::register(server.address, "friend", count).await?;
    people::befriend(server.address, &me, &friends).await?;

    let mut http = Http::open(server.address).await?;
    let listed = http.call(ROUTE, &me.token, &Value::Null).await?["count"].as_u64().doing("the count of friends")?;
    let request = http::request(ROUTE, &me.token, "");
    ask_for(&mut http, &request, setting.warm_up).await?;
    let before = CpuReading::take(server.pid())?;
    let mut times = ask_for(&mut http, &request, setting.measured).await?;
    let cpu = CpuReading::take(server.pid())?.since(&before);

    let (cpu_goal, p99_goal) = match count {
        0..=1000 => (Goal::AtMost(1.0), Goal::Told),
        _ => (Goal::Told, Goal::AtMost(30.0)),
    };
    let mut findings = Findings::default();
    findings.tell("friends in the list", float(listed), Goal::AtLeast(float(count)));
    findings.tell("CPU a list, ms", micros(cpu) / 1e3 / float(times.count()), cpu_goal);
    findings.tell("time of a list p50, ms", times.quantile_ms(0.5), Goal::Told);
    findings.tell("time of a list p99, ms", times.quantile_ms(0.99), p99_goal);
    Ok(findings)
}

async fn ask_for(http: &mut Http, request: &[u8], time: Duration) -> Result<Times, Failure> {
    let mut times = Times::default();
    let begun = Instant::now();
    while begun.elapsed() < time {
        let asked_ns = now_ns();
        http.exchange(request).await?.accepted()?;
        times.add_ns(now_ns() - asked_ns);
    }
    Ok(times)
}
