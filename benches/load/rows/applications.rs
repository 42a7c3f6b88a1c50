//! The list of friend applications: its first and its last page when there are 100, and when there are 10,000.

use serde_json::Value;

use crate::{
    asking::{Asked, ask},
    failure::Failure,
    figures::{Findings, Goal, float},
    http::{self, Http},
    people,
    seed::Bind,
    server::{CHEAP_PASSWORDS, Server},
    setting::Setting,
};

const FEW: usize = 100;
const MANY: usize = 10_000;
/// The client's page.
const PAGE: usize = 10;

pub async fn run(setting: &Setting) -> Result<Findings, Failure> {
    let [few, _] = measure(setting, FEW).await?;
    let [mut many, mut last] = measure(setting, MANY).await?;
    let mut findings = Findings::default();
    let ratio = many.cpu_ms_an_answer / few.cpu_ms_an_answer;
    findings.tell("CPU, first page of 10,000 rows ÷ of 100", ratio, Goal::AtMost(1.3));
    findings.tell("CPU a first page of 10,000 rows, ms", many.cpu_ms_an_answer, Goal::Told);
    findings.tell("first page p50, ms", many.times.quantile_ms(0.5), Goal::Told);
    findings.tell("first page p99, ms", many.times.quantile_ms(0.99), Goal::Told);
    findings.tell("last page p50, ms", last.times.quantile_ms(0.5), Goal::Told);
    findings.tell("last page p99, ms", last.times.quantile_ms(0.99), Goal::Told);
    Ok(findings)
}

/// The first and the last page.
async fn measure(setting: &Setting, rows: usize) -> Result<[Asked; 2], Failure> {
    let mut server = Server::start(setting, CHEAP_PASSWORDS).await?;
    let me = people::register(server.address, "me", 1).await?.remove(0);
    let numbers = [me.id, u64::try_from(rows).unwrap_or_default()];
    let [my_id, count] = numbers.map(|number| Bind::Number(i64::try_from(number).unwrap_or_default()));
    server
        .seed(async |seed| {
            seed.users(rows).await?;
            // One in ten waits.
            seed.run(
                "INSERT INTO friend_applications \
                 (user_id, friend_id, note, status, pending_mark, created_at, updated_at) \
                 SELECT 1000001 + n, ?, 'seeded', CASE WHEN n % 10 = 0 THEN 'pending' ELSE 'refuse' END, \
                 CASE WHEN n % 10 = 0 THEN 1 ELSE NULL END, 1750000000000, 1750000000000 \
                 FROM numbers WHERE n < ? ORDER BY n",
                &[my_id.again(), count],
            )
            .await?;
            seed.run(
                "INSERT INTO friend_application_counts (user_id, pending) \
                 SELECT friend_id, COUNT(*) FROM friend_applications WHERE pending_mark = 1 GROUP BY friend_id",
                &[],
            )
            .await
        })
        .await?;

    let route = |page: usize| format!("GET /api/chat/listapplyfriend/{page}?limit={PAGE}");
    let pages = [route(1), route(rows / PAGE)];
    let mut http = Http::open(server.address).await?;
    for page in &pages {
        let data = http.call(page, &me.token, &Value::Null).await?;
        let (listed, pending) = (data["alldata"].as_array().map(Vec::len), data["pendingCount"].as_u64());
        if listed != Some(PAGE) || pending.map(float) != Some(float(rows / 10)) {
            return Err(Failure::new(format!("{page}: {listed:?} rows, {pending:?} pending")));
        }
    }
    let requests = pages.map(|page| vec![http::request(&page, &me.token, "")]);
    let [first, last] = requests;
    let [warm_up, measured] = [setting.warm_up / 4, setting.measured / 4];
    let first = ask(&server, first, 1, [warm_up, measured]).await?;
    let last = ask(&server, last, 1, [warm_up, measured]).await?;
    Ok([first, last])
}
