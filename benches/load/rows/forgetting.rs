//! What it costs to forget: chat beside nothing, against chat beside the deletion of old messages, of 1,000,000 to people and
//! 500,000 to groups.

use std::time::{Duration, Instant};

use crate::{
    chat::{self, Chat, Pace},
    failure::Failure,
    figures::{Findings, Goal, float},
    seed::{Bind, Seed},
    server::{CHEAP_PASSWORDS, Server},
    setting::{Engine, Setting},
};

const SENDERS: usize = 16;
/// 200 messages a second, as beside logins.
const GAP: Duration = Duration::from_millis(80);
/// The bytes of a stored message.
const BODY_BYTES: usize = 600;

pub async fn run(setting: &Setting) -> Result<Findings, Failure> {
    let mut calm = measure(setting, "0").await?;
    let mut beside = measure(setting, "1").await?;
    let mut findings = Findings::default();
    let [(calm_p50, calm_p99), (p50, p99)] = [&mut calm.chat, &mut beside.chat]
        .map(|chat| (chat.delivered.quantile_ms(0.5), chat.delivered.quantile_ms(0.99)));
    findings.tell("chat p99 beside a pass ÷ without", p99 / calm_p99, Goal::Told);
    findings.tell("chat p99 without, ms", calm_p99, Goal::Told);
    findings.tell("chat p99 beside a pass, ms", p99, Goal::Told);
    findings.tell("chat p50 without, ms", calm_p50, Goal::Told);
    findings.tell("chat p50 beside a pass, ms", p50, Goal::Told);
    let more = share(&beside.chat) - share(&calm.chat);
    findings.tell("CPU of a pass, % of a core", more, Goal::Told);
    findings.tell("messages deleted a second", beside.deleted_a_second, Goal::Told);
    findings.alarms.extend(calm.chat.alarms.into_iter().chain(beside.chat.alarms));
    Ok(findings)
}

/// Percents of a core that the server took.
fn share(chat: &chat::Report) -> f64 {
    chat.cpu_micros_a_message * chat.messages_a_second / 10_000.0
}

struct Report {
    chat: chat::Report,
    deleted_a_second: f64,
}

/// Chat in a full store, whose messages are forgotten after so many days.
async fn measure(setting: &Setting, days: &str) -> Result<Report, Failure> {
    let forgets = [("QINGNIAO_RETENTION_FIRST_S", "0"), ("QINGNIAO_RETENTION_MESSAGES_DAYS", days)];
    let mut server = Server::start(setting, &[CHEAP_PASSWORDS, &forgets].concat()).await?;
    let on_mysql = setting.engine == Engine::Mysql;
    server.seed(async |seed| fill(seed, on_mysql).await).await?;
    let begun = Instant::now();
    let mut chat = Chat::prepare(server.address, SENDERS, "chat").await?;
    let pace = Pace { warm_up: setting.warm_up, measured: setting.measured, gap: Some(GAP) };
    let report = chat.run(server.pid(), None, pace).await?;
    let lasted = begun.elapsed();
    // A pass that a stop has ended tells what it has done.
    server.stop().await?;
    let log = server.last_log();
    let told = log.split_once("deleted ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    Ok(Report { chat: report, deleted_a_second: float(told.unwrap_or(0_u64)) / lasted.as_secs_f64() })
}

/// All of it was received, and is old. The bodies are those of short texts.
async fn fill(seed: &mut Seed, on_mysql: bool) -> Result<(), Failure> {
    macro_rules! messages {
        ($sixteen_bytes:literal, $columns:literal, $values:literal) => {
            concat!(
                "INSERT INTO messages (uuid, sender_id, created_at, size, body, ",
                $columns,
                ") SELECT ",
                $sixteen_bytes,
                ", 1000001 + n % 100000, 1750000000000 + n, ?, ?, ",
                $values
            )
        };
    }
    macro_rules! of_both {
        ($columns:literal, $values:literal) => {
            if on_mysql {
                messages!("RANDOM_BYTES(16)", $columns, $values)
            } else {
                messages!("RANDOMBLOB(16)", $columns, $values)
            }
        };
    }
    let body = "m".repeat(BODY_BYTES);
    let values = || [Bind::Number(i64::try_from(BODY_BYTES).unwrap_or_default()), Bind::Text(&body)];
    seed.run(of_both!("recipient_id", "1000001 + n % 99991 FROM numbers ORDER BY n"), &values()).await?;
    let in_groups = of_both!(
        "group_id, seq",
        "1000001 + n % 10000, (n - n % 10000) / 10000 + 1 FROM numbers WHERE n < 500000 ORDER BY n"
    );
    seed.run(in_groups, &values()).await?;
    for sql in [
        "INSERT INTO inboxes (user_id, delivered_id) SELECT 1000001 + n, 2000000 FROM numbers WHERE n < 100000 ORDER BY n",
        "INSERT INTO chat_groups (id, uuid, owner_id, name, avatar, remark, last_seq, created_at, updated_at) \
         SELECT 1000001 + n, CONCAT('00000000-0000-4000-9000-', 100000000000 + n), 1000001 + n, 'seeded', '', '', 50, \
         1750000000000, 1750000000000 FROM numbers WHERE n < 10000 ORDER BY n",
        "INSERT INTO subscriptions (group_id, user_id, delivered_seq, active_from_seq) \
         SELECT 1000001 + n % 10000, 1000001 + n, 50, 0 FROM numbers WHERE n < 100000 ORDER BY 1, 2",
    ] {
        seed.run(sql, &[]).await?;
    }
    seed.file_messages().await
}
