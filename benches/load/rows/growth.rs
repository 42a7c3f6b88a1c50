//! What a hundred times the data costs: chat beside nothing, against chat beside 1,000,000 stored messages, 100,000 users,
//! 10,000 groups, and the contacts and cursors that go with them.

use crate::{
    chat::{self, Chat, Pace},
    failure::Failure,
    fan::{self, Fan},
    figures::{Findings, Goal},
    people,
    seed::{Bind, Seed},
    server::{CHEAP_PASSWORDS, Server},
    setting::{Engine, Setting},
};

const SENDERS: usize = 64;
const MEMBERS: usize = 50;
const STREAMS: usize = 8;
const USERS: usize = 100_000;
/// The bytes of a stored message.
const BODY_BYTES: usize = 600;

pub async fn run(setting: &Setting) -> Result<Findings, Failure> {
    let empty = measure(setting, false).await?;
    let mut full = measure(setting, true).await?;
    let mut empty_chat = empty.chat;

    let mut findings = Findings::default();
    let ratio = |full: f64, empty: f64| full / empty;
    let cpu = ratio(full.chat.cpu_micros_a_message, empty_chat.cpu_micros_a_message);
    findings.tell("single chat: CPU, full ÷ empty", cpu, Goal::AtMost(1.3));
    let group_cpu = ratio(full.group.cpu_micros_a_message, empty.group.cpu_micros_a_message);
    findings.tell("group of 50: CPU, full ÷ empty", group_cpu, Goal::AtMost(1.3));
    let rate = ratio(full.chat.messages_a_second, empty_chat.messages_a_second);
    findings.tell("single chat: messages/s, full ÷ empty", rate, Goal::Told);
    findings.tell("single chat, empty: CPU a message, µs", empty_chat.cpu_micros_a_message, Goal::Told);
    findings.tell("single chat, full: CPU a message, µs", full.chat.cpu_micros_a_message, Goal::Told);
    findings.tell("single chat, empty: delivery p99, ms", empty_chat.delivered.quantile_ms(0.99), Goal::Told);
    findings.tell("single chat, full: delivery p99, ms", full.chat.delivered.quantile_ms(0.99), Goal::Told);
    let alarms = [empty_chat.alarms, full.chat.alarms, empty.group.alarms, full.group.alarms];
    findings.alarms = alarms.into_iter().flatten().collect();
    Ok(findings)
}

struct Loads {
    chat: chat::Report,
    group: fan::Report,
}

async fn measure(setting: &Setting, full: bool) -> Result<Loads, Failure> {
    let mut server = Server::start(setting, CHEAP_PASSWORDS).await?;
    if full {
        let on_mysql = setting.engine == Engine::Mysql;
        server.seed(async |seed| fill(seed, on_mysql).await).await?;
    } else {
        // Both have been started twice and know one user.
        server.stop_and_start().await?;
    }
    people::register(server.address, "first", 1).await?;
    let mut chat = Chat::prepare(server.address, SENDERS, "chat").await?;
    let pace = Pace { warm_up: setting.warm_up, measured: setting.measured, gap: None };
    let report = chat.run(server.pid(), None, pace).await?;
    drop(chat);
    let mut fan = Fan::prepare(&server, "fan", MEMBERS, MEMBERS).await?;
    let group = fan.run(server.pid(), setting, STREAMS).await?;
    Ok(Loads { chat: report, group })
}

/// The pairs of senders and recipients repeat only after the product of the two divisors, which have no common part.
async fn fill(seed: &mut Seed, on_mysql: bool) -> Result<(), Failure> {
    macro_rules! messages {
        ($sixteen_bytes:literal) => {
            concat!(
                "INSERT INTO messages (uuid, sender_id, recipient_id, created_at, size, body) SELECT ",
                $sixteen_bytes,
                ", 1000001 + n % 100000, 1000001 + n % 99991, 1750000000000 + n, ?, ? FROM numbers ORDER BY n"
            )
        };
    }
    let sql = if on_mysql { messages!("RANDOM_BYTES(16)") } else { messages!("RANDOMBLOB(16)") };
    let body = "m".repeat(BODY_BYTES);
    seed.users(USERS).await?;
    seed.run(sql, &[Bind::Number(i64::try_from(BODY_BYTES).unwrap_or_default()), Bind::Text(&body)]).await?;
    seed.run(
        "INSERT INTO contacts (sender_id, recipient_id) \
         SELECT 1000001 + n % 100000, 1000001 + n % 99991 FROM numbers ORDER BY 1, 2",
        &[],
    )
    .await?;
    // Half of the people have read half, the others nothing.
    seed.run(
        "INSERT INTO inboxes (user_id, delivered_id) \
         SELECT 1000001 + n, CASE WHEN n % 2 = 0 THEN 500000 ELSE 0 END FROM numbers WHERE n < 100000 ORDER BY n",
        &[],
    )
    .await?;
    seed.file_messages().await?;
    seed.run(
        "INSERT INTO chat_groups (id, uuid, owner_id, name, avatar, remark, created_at, updated_at) \
         SELECT 1000001 + n, CONCAT('00000000-0000-4000-9000-', 100000000000 + n), 1000001 + n, 'seeded', '', '', \
         1750000000000, 1750000000000 FROM numbers WHERE n < 10000 ORDER BY n",
        &[],
    )
    .await?;
    seed.run(
        "INSERT INTO group_members (group_id, user_id, created_at, updated_at) \
         SELECT 1000001 + n % 10000, 1000001 + n, 1750000000000, 1750000000000 \
         FROM numbers WHERE n < 100000 ORDER BY 1, 2",
        &[],
    )
    .await?;
    seed.run(
        "INSERT INTO subscriptions (group_id, user_id, delivered_seq, active_from_seq) \
         SELECT 1000001 + n % 10000, 1000001 + n, 0, 0 FROM numbers WHERE n < 100000 ORDER BY 1, 2",
        &[],
    )
    .await
}
