//! A login storm beside chat: logins against what argon2 alone can do on this machine, and what the chat's p99 suffers.

use std::{
    cell::Cell,
    net::SocketAddr,
    rc::Rc,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use serde_json::json;

use crate::{
    chat::{Chat, Pace, Report},
    crew::Crew,
    failure::{Failure, While},
    figures::{Findings, Goal, float},
    http::Http,
    people::{self, PASSWORD, Person},
    server::Server,
    setting::Setting,
};

/// OWASP's first choice for argon2id.
const MEMORY_KIB: u32 = 19_456;
const ITERATIONS: u32 = 2;
const CHAT_PAIRS: usize = 16;
/// 16 senders at this gap are 200 messages a second: a load at which the chat alone has a calm p99.
const CHAT_GAP: Duration = Duration::from_millis(80);
const LOGIN_CONNECTIONS: usize = 16;

pub async fn run(setting: &Setting) -> Result<Findings, Failure> {
    let server = Server::start(setting, &[]).await?;
    let accounts = people::register(server.address, "acct", LOGIN_CONNECTIONS * 2).await?;
    let mut chat = Chat::prepare(server.address, CHAT_PAIRS, "chat").await?;
    let pace = Pace { warm_up: setting.warm_up, measured: setting.measured, gap: Some(CHAT_GAP) };

    let mut calm = chat.run(server.pid(), None, pace).await?;
    let logins_alone = storm(server.address, &accounts, async {
        tokio::time::sleep(setting.measured).await;
        Ok(())
    });
    let (logins_alone, ()) = logins_alone.await?;
    // Before and after what is compared with it: a machine's speed changes within a minute.
    let before = argon2_alone(setting.measured)?;
    let (logins_beside, mut stormy) = storm(server.address, &accounts, chat.run(server.pid(), None, pace)).await?;
    let argon2_alone = f64::midpoint(before, argon2_alone(setting.measured)?);

    let p99 = |report: &mut Report| report.delivered.quantile_ms(0.99);
    let (calm_p99, stormy_p99) = (p99(&mut calm), p99(&mut stormy));
    let mut findings = Findings::default();
    findings.tell("logins/s beside chat ÷ argon2 alone", logins_beside / argon2_alone, Goal::AtLeast(0.9));
    findings.tell("chat p99 beside logins ÷ without", stormy_p99 / calm_p99, Goal::AtMost(3.0));
    findings.tell("argon2 alone, hashes/s", argon2_alone, Goal::Told);
    findings.tell("logins/s alone", logins_alone, Goal::Told);
    findings.tell("logins/s beside chat", logins_beside, Goal::Told);
    findings.tell("chat p50 without logins, ms", calm.delivered.quantile_ms(0.5), Goal::Told);
    findings.tell("chat p99 without logins, ms", calm_p99, Goal::Told);
    findings.tell("chat p50 beside logins, ms", stormy.delivered.quantile_ms(0.5), Goal::Told);
    findings.tell("chat p99 beside logins, ms", stormy_p99, Goal::Told);
    findings.alarms.extend(calm.alarms.into_iter().chain(stormy.alarms));
    Ok(findings)
}

/// Logs in without end on all connections while `beside` runs; logins a second and what `beside` yields.
async fn storm<T>(
    address: SocketAddr,
    accounts: &[Person],
    beside: impl Future<Output = Result<T, Failure>>,
) -> Result<(f64, T), Failure> {
    let logins = Rc::new(Cell::new(0_u64));
    let mut crew = Crew::default();
    for mine in accounts.chunks(accounts.len().div_ceil(LOGIN_CONNECTIONS)) {
        let (mine, logins) = (mine.to_vec(), Rc::clone(&logins));
        crew.add(async move {
            let mut http = Http::open(address).await?;
            for person in mine.iter().cycle() {
                let body = json!({"username": person.username, "password": PASSWORD});
                http.call("POST /api/loginChat", "", &body).await?;
                logins.set(logins.get() + 1);
            }
            Ok(())
        });
    }
    let begun = Instant::now();
    let result = tokio::select! {
        result = beside => result?,
        failure = crew.failure() => return Err(failure),
    };
    Ok((float(logins.get()) / begun.elapsed().as_secs_f64(), result))
}

/// Hashes a second on all cores with reused memory, and nothing else running.
fn argon2_alone(time: Duration) -> Result<f64, Failure> {
    let params = Params::new(MEMORY_KIB, ITERATIONS, 1, None).doing("argon2 parameters")?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let cores = thread::available_parallelism().doing("counting cores")?.get();
    let hashes = AtomicU32::new(0);
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let mut memory = vec![Block::default(); argon2.params().block_count()];
                let mut out = [0; 32];
                while begun.elapsed() < time {
                    let salt = b"sixteen byte sal";
                    if argon2.hash_password_into_with_memory(PASSWORD.as_bytes(), salt, &mut out, &mut memory).is_ok() {
                        hashes.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    Ok(f64::from(hashes.into_inner()) / begun.elapsed().as_secs_f64())
}
