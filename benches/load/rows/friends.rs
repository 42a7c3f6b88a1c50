//! The whole friend list in one page, asked for again and again on one connection.

use serde_json::Value;

use crate::{
    asking::ask,
    failure::{Failure, While},
    figures::{Findings, Goal, float},
    http::{self, Http},
    people,
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
    let mut asked = ask(&server, vec![request], 1, [setting.warm_up, setting.measured]).await?;

    let (cpu_goal, p99_goal) = match count {
        0..=1000 => (Goal::AtMost(1.0), Goal::Told),
        _ => (Goal::Told, Goal::AtMost(30.0)),
    };
    let mut findings = Findings::default();
    findings.tell("friends in the list", float(listed), Goal::AtLeast(float(count)));
    findings.tell("CPU a list, ms", asked.cpu_ms_an_answer, cpu_goal);
    findings.tell("time of a list p50, ms", asked.times.quantile_ms(0.5), Goal::Told);
    findings.tell("time of a list p99, ms", asked.times.quantile_ms(0.99), p99_goal);
    Ok(findings)
}
