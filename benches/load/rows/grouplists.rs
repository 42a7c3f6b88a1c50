//! The two lists of groups: everybody in a group of 3,000, and the 1,000 groups of one person.

use serde_json::Value;

use crate::{
    asking::ask,
    failure::{Failure, While},
    figures::{Findings, Goal},
    http::{self, Http},
    people::{self, Person},
    seed::{Bind, FIRST_ID, Seed},
    server::{CHEAP_PASSWORDS, Server},
    setting::Setting,
};

const MEMBERS: usize = 3000;
const GROUPS: usize = 1000;
/// Others in each of the groups.
const OTHERS: usize = 10;

/// `groupinfo` of one large group.
pub async fn info(setting: &Setting) -> Result<Findings, Failure> {
    let mut server = Server::start(setting, CHEAP_PASSWORDS).await?;
    let me = people::register(server.address, "me", 1).await?.remove(0);
    server
        .seed(async |seed| {
            seed.users(MEMBERS).await?;
            make_groups(seed, 1).await?;
            join(
                seed,
                [
                    "INSERT INTO group_members (group_id, user_id, created_at, updated_at) \
                     SELECT 1000001, 1000001 + n, 1750000000000, 1750000000000 FROM numbers WHERE n < ? ORDER BY n",
                    "INSERT INTO subscriptions (group_id, user_id, delivered_seq, active_from_seq) \
                     SELECT 1000001, 1000001 + n, 0, 0 FROM numbers WHERE n < ? ORDER BY n",
                ],
                MEMBERS,
            )
            .await
        })
        .await?;
    let route = format!("GET /api/chat/groupinfo/{FIRST_ID}");
    let mut findings = Findings::default();
    measure(setting, &server, &me, &route, MEMBERS, &mut findings, |data| &data["group_users"]).await?;
    Ok(findings)
}

/// `grouplist` of somebody in many groups: all at once, and the client's first page.
pub async fn list(setting: &Setting) -> Result<Findings, Failure> {
    let mut server = Server::start(setting, CHEAP_PASSWORDS).await?;
    let me = people::register(server.address, "me", 1).await?.remove(0);
    let my_id = Bind::Number(i64::try_from(me.id).doing("my id")?);
    server
        .seed(async |seed| {
            seed.users(OTHERS).await?;
            make_groups(seed, GROUPS).await?;
            let count = || Bind::Number(i64::try_from(GROUPS).unwrap_or_default());
            seed.run(
                "INSERT INTO group_members (group_id, user_id, created_at, updated_at) \
                 SELECT 1000001 + n, ?, 1750000000000, 1750000000000 FROM numbers WHERE n < ? ORDER BY n",
                &[my_id.again(), count()],
            )
            .await?;
            seed.run(
                "INSERT INTO subscriptions (group_id, user_id, delivered_seq, active_from_seq) \
                 SELECT 1000001 + n, ?, 0, 0 FROM numbers WHERE n < ? ORDER BY n",
                &[my_id.again(), count()],
            )
            .await?;
            join(
                seed,
                [
                    "INSERT INTO group_members (group_id, user_id, created_at, updated_at) \
                     SELECT 1000001 + n % 1000, 1000001 + n % 10, 1750000000000, 1750000000000 \
                     FROM numbers WHERE n < ? GROUP BY n % 1000, n % 10",
                    "INSERT INTO subscriptions (group_id, user_id, delivered_seq, active_from_seq) \
                     SELECT 1000001 + n % 1000, 1000001 + n % 10, 0, 0 \
                     FROM numbers WHERE n < ? GROUP BY n % 1000, n % 10",
                ],
                GROUPS * OTHERS,
            )
            .await
        })
        .await?;
    let mut findings = Findings::default();
    let all = format!("GET /api/chat/grouplist/1?limit={GROUPS}");
    measure(setting, &server, &me, &all, GROUPS, &mut findings, |data| data).await?;
    Ok(findings)
}

async fn make_groups(seed: &mut Seed, count: usize) -> Result<(), Failure> {
    seed.run(
        "INSERT INTO chat_groups (id, uuid, owner_id, name, avatar, remark, created_at, updated_at) \
         SELECT 1000001 + n, CONCAT('00000000-0000-4000-9000-', 100000000000 + n), 1000001, 'seeded', '', '', \
         1750000000000, 1750000000000 FROM numbers WHERE n < ? ORDER BY n",
        &[Bind::Number(i64::try_from(count).doing("a count")?)],
    )
    .await
}

/// Makes members and their subscriptions.
async fn join(seed: &mut Seed, statements: [&'static str; 2], count: usize) -> Result<(), Failure> {
    for sql in statements {
        seed.run(sql, &[Bind::Number(i64::try_from(count).doing("a count")?)]).await?;
    }
    Ok(())
}

async fn measure(
    setting: &Setting,
    server: &Server,
    me: &Person,
    route: &str,
    expected: usize,
    findings: &mut Findings,
    list: impl Fn(&Value) -> &Value,
) -> Result<(), Failure> {
    let mut http = Http::open(server.address).await?;
    let data = http.call(route, &me.token, &Value::Null).await?;
    let listed = list(&data).as_array().doing("the list")?.len();
    if listed != expected {
        findings.alarms.push(format!("WRONG: {listed} of {expected} are in the list"));
    }
    let request = http::request(route, &me.token, "");
    let mut asked = ask(server, vec![request], 1, [setting.warm_up / 2, setting.measured / 2]).await?;
    findings.tell("CPU a list, ms", asked.cpu_ms_an_answer, Goal::Told);
    findings.tell("time of a list p50, ms", asked.times.quantile_ms(0.5), Goal::Told);
    findings.tell("time of a list p99, ms", asked.times.quantile_ms(0.99), Goal::Told);
    Ok(())
}
