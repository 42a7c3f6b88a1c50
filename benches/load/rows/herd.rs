//! The reconnect herd: the server is killed and started again, and 5,000 phones come back in the same moment, each with a
//! new socket, a new HTTP connection, the call for what is pending, and one message that waits. Or 3,000 come back while others
//! talk.

use std::{cell::RefCell, net::SocketAddr, rc::Rc, time::Duration};

use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::{
    apart::Apart,
    chat::{Chat, Pace},
    crew::{Crew, spread},
    failure::{Failure, While},
    figures::{Findings, Goal, Times, float, micros},
    http::Http,
    letter::{Addressee, Letter},
    mark::{Mark, now_ns},
    people::{self, Person},
    procfs,
    server::{CHEAP_PASSWORDS, Server},
    setting::Setting,
    ws::Socket,
};

const PHONES: usize = 5000;
const PHONES_BESIDE: usize = 3000;
const CHAT_PAIRS: usize = 16;
/// 200 messages a second, as beside logins.
const CHAT_GAP: Duration = Duration::from_millis(80);
/// About as long as such a herd lasts.
const WINDOW: Duration = Duration::from_millis(1500);
const HERD_TIME: Duration = Duration::from_mins(1);

/// Everybody, after the server was killed.
pub async fn run(setting: &Setting) -> Result<Findings, Failure> {
    let mut server = Server::start(setting, CHEAP_PASSWORDS).await?;
    let phones = missed(&server, PHONES).await?;
    server.kill_and_start().await?;

    let begun = Instant::now();
    let Herd { outcome, mut times, connected } = come(server.address, &phones, true).await;
    let took = begun.elapsed();
    let mut findings = Findings::default();
    findings.tell("phones served", float(times.count()), Goal::AtLeast(float(PHONES)));
    findings.tell("time until all are served, s", took.as_secs_f64(), Goal::AtMost(5.0));
    findings.tell("time of the median phone, s", times.quantile_ms(0.5) / 1e3, Goal::Told);
    findings.tell("RSS afterwards, MiB", float(procfs::rss_kib(server.pid())?) / 1024.0, Goal::Told);
    drop(connected);
    findings.alarms.extend(outcome.err().map(|failure| format!("a phone was not served: {failure}")));
    Ok(findings)
}

/// Some, while others talk.
pub async fn beside_chat(setting: &Setting) -> Result<Findings, Failure> {
    let server = Server::start(setting, CHEAP_PASSWORDS).await?;
    let phones = missed(&server, PHONES_BESIDE).await?;
    let mut chat = Chat::prepare(server.address, CHAT_PAIRS, "chat").await?;
    let pace = Pace { warm_up: setting.warm_up, measured: setting.measured, gap: Some(CHAT_GAP) };
    let mut calm = chat.run(server.pid(), None, pace).await?;

    let (address, keeps, before) = (server.address, !server.is_ceiling(), procfs::CpuReading::take(server.pid())?);
    let herd = Apart::start(move |until| async move {
        let begun = Instant::now();
        let herd = come(address, &phones, keeps).await;
        let took = begun.elapsed();
        // They stay as long as the chat is measured; an end of the row that was not planned is an end as well.
        let _ = until.await;
        herd.outcome.map(|()| (took, herd.times.count()))
    });
    let pace = Pace { warm_up: Duration::ZERO, measured: WINDOW, ..pace };
    let stormy = chat.run(server.pid(), None, pace).await;
    let (took, count) = herd.stop()?;
    let cpu = procfs::CpuReading::take(server.pid())?.since(&before);
    let mut stormy = stormy?;

    let mut findings = Findings::default();
    let (calm_p99, stormy_p99) = (calm.delivered.quantile_ms(0.99), stormy.delivered.quantile_ms(0.99));
    findings.tell("chat p99 beside the herd ÷ without", stormy_p99 / calm_p99, Goal::AtMost(2.0));
    findings.tell("phones served", float(count), Goal::AtLeast(float(PHONES_BESIDE)));
    findings.tell("time until all are served, s", took.as_secs_f64(), Goal::Told);
    findings.tell("CPU of the server a phone, µs", micros(cpu) / float(count), Goal::Told);
    findings.tell("chat p99 without, ms", calm_p99, Goal::Told);
    findings.tell("chat p99 beside the herd, ms", stormy_p99, Goal::Told);
    findings.tell("chat p50 without, ms", calm.delivered.quantile_ms(0.5), Goal::Told);
    findings.tell("chat p50 beside the herd, ms", stormy.delivered.quantile_ms(0.5), Goal::Told);
    findings.alarms.extend(calm.alarms.into_iter().chain(stormy.alarms));
    Ok(findings)
}

/// People for whom one message waits.
async fn missed(server: &Server, count: usize) -> Result<Vec<Person>, Failure> {
    let phones = people::register(server.address, "herd", count).await?;
    let sender = people::register(server.address, "shep", 1).await?.remove(0);
    spread(server.address, count, async |http: &mut Http, index| {
        // One message to a stranger is what the default allows.
        let mut letter = Letter::new(&sender.token, Addressee::Person(phones[index].id), 0);
        http.exchange(letter.stamp(0).0).await?.accepted()
    })
    .await?;
    Ok(phones)
}

/// What became of a herd.
struct Herd {
    outcome: Result<(), Failure>,
    times: Times,
    connected: Vec<(Socket, Http)>,
}

/// All phones come back in this moment, to a server that keeps what they have missed, or to one that does not.
async fn come(address: SocketAddr, phones: &[Person], keeps: bool) -> Herd {
    let back = Rc::new(RefCell::new(Back::default()));
    let mut crew = Crew::default();
    let begun = now_ns();
    for phone in phones {
        let (phone, back) = (phone.clone(), Rc::clone(&back));
        crew.add(async move {
            let connected = come_back(address, &phone, keeps).await.doing(&phone.username)?;
            let mut back = back.borrow_mut();
            back.times.add_ns(now_ns() - begun);
            back.connected.push(connected);
            Ok(())
        });
    }
    let outcome = timeout(HERD_TIME, crew.finish()).await.unwrap_or_else(|_| Err(Failure::new("it took too long")));
    let Back { times, connected } = back.take();
    Herd { outcome, times, connected }
}

/// The phones that are back, and stay until the herd is over.
#[derive(Default)]
struct Back {
    times: Times,
    connected: Vec<(Socket, Http)>,
}

/// Done when the socket is open, the call answered, and the waiting message here if the server keeps it.
async fn come_back(address: SocketAddr, phone: &Person, keeps: bool) -> Result<(Socket, Http), Failure> {
    let mut socket = Socket::open(address, &phone.token).await?;
    let mut http = Http::open(address).await?;
    let pending = async {
        let (mut hint, mut arrived) = (0, 0_u32);
        while keeps && arrived == 0 {
            socket.pump(|frame| arrived += u32::from(Mark::find(frame, &mut hint).is_some())).await?;
        }
        Ok(())
    };
    let asked = async { http.call("POST /api/chat/chatGetmessageOffLine", &phone.token, &json!({})).await.map(|_| ()) };
    tokio::try_join!(pending, asked)?;
    Ok((socket, http))
}
