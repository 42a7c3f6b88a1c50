//! The members of a group come back in the same moment, and each has missed 1,000 messages. As many members as the
//! measured seconds allow, up to 3,000: the whole is three million deliveries.

use std::{cell::RefCell, net::SocketAddr, rc::Rc, time::Duration};

use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::{
    crew::{Crew, spread},
    failure::{Failure, While},
    figures::{Findings, Goal, Times, float, micros},
    http::Http,
    letter::{Addressee, Letter},
    mark::{Mark, now_ns},
    people::{self, Person},
    procfs::{self, CpuReading},
    server::{CHEAP_PASSWORDS, Server},
    setting::Setting,
    ws::Socket,
};

const MEMBERS_MAX: usize = 3000;
const MEMBERS_A_SECOND: usize = 150;
const MESSAGES: u32 = 1000;
/// Messages are sent beside each other in as many streams.
const STREAMS: usize = 8;
const COMEBACK_TIME: Duration = Duration::from_mins(3);

pub async fn run(setting: &Setting) -> Result<Findings, Failure> {
    let server = Server::start(setting, CHEAP_PASSWORDS).await?;
    let seconds = usize::try_from(setting.measured.as_secs()).unwrap_or(MEMBERS_MAX);
    let count = (seconds * MEMBERS_A_SECOND).min(MEMBERS_MAX);
    let owner = people::register(server.address, "owner", 1).await?.remove(0);
    let members = people::register(server.address, "member", count).await?;
    let group_id = people::make_group(&server, &owner, &members).await?;
    send_all(server.address, &owner, group_id).await?;

    let before = procfs::rss_kib(server.pid())?;
    procfs::reset_peak(server.pid())?;
    let cpu = CpuReading::take(server.pid())?;
    let back = Rc::new(RefCell::new(Back::default()));
    let mut crew = Crew::default();
    let begun = (Instant::now(), now_ns());
    for member in &members {
        let (member, back, address) = (member.clone(), Rc::clone(&back), server.address);
        crew.add(async move {
            let (socket, disorder) = come_back(address, &member).await.doing(&member.username)?;
            let mut back = back.borrow_mut();
            back.times.add_ns(now_ns() - begun.1);
            back.disorder += disorder;
            back.open.push(socket);
            Ok(())
        });
    }
    let outcome = timeout(COMEBACK_TIME, crew.finish()).await;
    let took = begun.0.elapsed().as_secs_f64();
    let cpu = micros(CpuReading::take(server.pid())?.since(&cpu));
    let peak = procfs::peak_rss_kib(server.pid())?;

    let Back { mut times, disorder, open } = back.take();
    drop(open);
    let deliveries = float(times.count()) * f64::from(MESSAGES);
    let mut findings = Findings::default();
    findings.tell("members that have everything", float(times.count()), Goal::AtLeast(float(count)));
    findings.tell("time until all have everything, s", took, Goal::Told);
    findings.tell("time of the median member, s", times.quantile_ms(0.5) / 1e3, Goal::Told);
    findings.tell("deliveries/s", deliveries / took, Goal::Told);
    findings.tell("CPU a delivery, µs", cpu / deliveries, Goal::Told);
    findings.tell("RSS growth at the peak, MiB", float(peak.saturating_sub(before)) / 1024.0, Goal::Told);
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => findings.alarms.push(format!("a member was not served: {failure}")),
        Err(_) => findings.alarms.push(format!("LOST: only {} of {count} members have everything", times.count())),
    }
    if disorder > 0 {
        findings.alarms.push(format!("OUT OF ORDER or repeated: {disorder} deliveries"));
    }
    Ok(findings)
}

async fn send_all(address: SocketAddr, owner: &Person, group_id: u64) -> Result<(), Failure> {
    spread(address, STREAMS, async |http: &mut Http, index| {
        let stream = u32::try_from(index).doing("a stream's number")?;
        let mut letter = Letter::new(&owner.token, Addressee::Group(group_id), stream);
        for seq in 0..share(index) {
            http.exchange(letter.stamp(seq).0).await?.accepted()?;
        }
        Ok(())
    })
    .await
    .map(|_| ())
}

/// How many messages a stream has.
fn share(stream: usize) -> u32 {
    let streams = u32::try_from(STREAMS).unwrap_or(1);
    MESSAGES / streams + u32::from(u32::try_from(stream).unwrap_or(0) < MESSAGES % streams)
}

/// The members that have everything, and stay until the last has.
#[derive(Default)]
struct Back {
    times: Times,
    disorder: u64,
    open: Vec<Socket>,
}

/// Done when all messages are here. Hands out the socket, and how many came out of order or again.
async fn come_back(address: SocketAddr, member: &Person) -> Result<(Socket, u64), Failure> {
    let mut socket = Socket::open(address, &member.token).await?;
    let mut http = Http::open(address).await?;
    let (mut hint, mut next, mut arrived, mut disorder) = (0, [0_u32; STREAMS], 0, 0);
    let all = async {
        while arrived < MESSAGES {
            socket
                .pump(|frame| {
                    let Some(mark) = Mark::find(frame, &mut hint) else { return };
                    let stream = usize::try_from(mark.stream).ok().and_then(|stream| next.get_mut(stream));
                    let Some(next) = stream else { return };
                    disorder += u64::from(mark.seq != *next);
                    if mark.seq >= *next {
                        *next = mark.seq + 1;
                        arrived += 1;
                    }
                })
                .await?;
        }
        Ok(())
    };
    let asked =
        async { http.call("POST /api/chat/chatGetmessageOffLine", &member.token, &json!({})).await.map(|_| ()) };
    tokio::try_join!(all, asked)?;
    Ok((socket, disorder))
}
