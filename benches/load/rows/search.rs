//! Search among 1,000 and among 1,000,000 users: by a whole name, by its beginning, by a part, for nobody.

use std::time::Duration;

use serde_json::json;

use crate::{
    asking::{Asked, ask},
    failure::{Failure, While},
    figures::{Findings, Goal},
    http::{self, Http},
    people::{self, Person},
    seed,
    server::{CHEAP_PASSWORDS, Server},
    setting::Setting,
};

const ROUTE: &str = "POST /api/chat/searchUser";
const FEW: usize = 1000;
const MANY: usize = 1_000_000;
const WARM_UP: Duration = Duration::from_millis(300);
/// Different keywords of a kind, asked for in turn.
const KEYWORDS: usize = 997;

/// What a kind of search looks for.
struct Kind {
    name: &'static str,
    /// The keyword that goes with a user's number.
    keyword: fn(usize) -> String,
    /// Whether anybody has such a name.
    hits: bool,
    p99_max_ms: f64,
}

const KINDS: [Kind; 5] = [
    Kind { name: "exact", keyword: seed::username, hits: true, p99_max_ms: 5.0 },
    Kind { name: "prefix", keyword: |number| seed::username(number)[..4].to_owned(), hits: true, p99_max_ms: 5.0 },
    Kind { name: "infix", keyword: |number| (number / 10).to_string(), hits: true, p99_max_ms: 150.0 },
    Kind {
        name: "infix of many",
        keyword: |number| seed::username(number)[2..4].to_owned(),
        hits: true,
        p99_max_ms: 150.0,
    },
    Kind { name: "no hit", keyword: |number| format!("qq{number}"), hits: false, p99_max_ms: 150.0 },
];

pub async fn run(setting: &Setting) -> Result<Findings, Failure> {
    let mut findings = Findings::default();
    let few = measure(setting, FEW, &mut findings).await?;
    let many = measure(setting, MANY, &mut findings).await?;
    for ((kind, few), mut many) in KINDS.iter().zip(few).zip(many) {
        let name = kind.name;
        let ratio = many.cpu_ms_an_answer / few.cpu_ms_an_answer;
        findings.tell(format!("{name}, p50, ms"), many.times.quantile_ms(0.5), Goal::Told);
        findings.tell(format!("{name}, p99, ms"), many.times.quantile_ms(0.99), Goal::AtMost(kind.p99_max_ms));
        findings.tell(format!("{name}, CPU a search, ms"), many.cpu_ms_an_answer, Goal::Told);
        findings.tell(format!("{name}, CPU ÷ that among 1,000"), ratio, Goal::Told);
    }
    Ok(findings)
}

async fn measure(setting: &Setting, users: usize, findings: &mut Findings) -> Result<Vec<Asked>, Failure> {
    let mut server = Server::start(setting, CHEAP_PASSWORDS).await?;
    server
        .seed(async |seed| {
            seed.users(users).await?;
            seed.username_parts().await
        })
        .await?;
    let me = people::register(server.address, "zz", 1).await?.remove(0);
    let mut all = Vec::with_capacity(KINDS.len());
    for kind in &KINDS {
        check(&server, &me, kind, users, findings).await?;
        // Among the upper nine tenths, so that a number without its last digit is not nothing.
        let numbers = (0..KEYWORDS).map(|index| users / 10 + index * 7919 % (users - users / 10));
        let requests = numbers.map(|number| request(&me, &(kind.keyword)(number))).collect();
        let measured = setting.measured / u32::try_from(KINDS.len()).doing("a share of the time")?;
        all.push(ask(&server, requests, 1, [WARM_UP, measured]).await?);
    }
    Ok(all)
}

fn request(me: &Person, keyword: &str) -> Vec<u8> {
    http::request(ROUTE, &me.token, &json!({"keyword": keyword}).to_string())
}

/// A search that finds nobody where it should, or somebody where it should not, is fast for no good reason.
async fn check(
    server: &Server,
    me: &Person,
    kind: &Kind,
    users: usize,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let mut http = Http::open(server.address).await?;
    let keyword = (kind.keyword)(users / 2);
    let found = http.call(ROUTE, &me.token, &json!({"keyword": keyword})).await?;
    let found = found.as_array().doing("the list of those who were found")?.len();
    if (found > 0) != kind.hits {
        findings.alarms.push(format!("WRONG: {} among {users} finds {found} people by {keyword}", kind.name));
    }
    Ok(())
}
