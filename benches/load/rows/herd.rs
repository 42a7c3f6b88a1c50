//! The reconnect herd: the server is killed and started again, and 5,000 phones come back in the same moment, each with a
//! new socket, a new HTTP connection, the call for what is pending, and one message that waits.

use std::{cell::RefCell, net::SocketAddr, rc::Rc, time::Duration};

use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::{
    crew::{Crew, spread},
    failure::{Failure, While},
    figures::{Findings, Goal, Times, float},
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
const HERD_TIME: Duration = Duration::from_mins(1);

pub async fn run(setting: &Setting) -> Result<Findings, Failure> {
    let mut server = Server::start(setting, CHEAP_PASSWORDS).await?;
    let phones = people::register(server.address, "herd", PHONES).await?;
    let sender = people::register(server.address, "shep", 1).await?.remove(0);
    spread(server.address, PHONES, async |http: &mut Http, index| {
        // One message to a stranger is what the default allows.
        let mut letter = Letter::new(&sender.token, Addressee::Person(phones[index].id), 0);
        http.exchange(letter.stamp(0).0).await?.accepted()
    })
    .await?;
    server.kill_and_start().await?;

    let back = Rc::new(RefCell::new(Back::default()));
    let mut crew = Crew::default();
    let begun = (Instant::now(), now_ns());
    for phone in &phones {
        let (phone, back, address) = (phone.clone(), Rc::clone(&back), server.address);
        crew.add(async move {
            let connected = come_back(address, &phone).await.doing(&phone.username)?;
            let mut back = back.borrow_mut();
            back.times.add_ns(now_ns() - begun.1);
            back.connected.push(connected);
            Ok(())
        });
    }
    let outcome = timeout(HERD_TIME, crew.finish()).await;
    let took = begun.0.elapsed();

    let Back { mut times, connected } = back.take();
    let mut findings = Findings::default();
    findings.tell("phones served", float(times.count()), Goal::AtLeast(float(PHONES)));
    findings.tell("time until all are served, s", took.as_secs_f64(), Goal::AtMost(5.0));
    findings.tell("time of the median phone, s", times.quantile_ms(0.5) / 1e3, Goal::Told);
    findings.tell("RSS afterwards, MiB", float(procfs::rss_kib(server.pid())?) / 1024.0, Goal::Told);
    drop(connected);
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => findings.alarms.push(format!("a phone was not served: {failure}")),
        Err(_) => findings.alarms.push(format!("only {} of {PHONES} phones were served", times.count())),
    }
    Ok(findings)
}

/// The phones that are back, and stay until the herd is over.
#[derive(Default)]
struct Back {
    times: Times,
    connected: Vec<(Socket, Http)>,
}

/// Done when the socket is open, the call answered, and the waiting message here.
async fn come_back(address: SocketAddr, phone: &Person) -> Result<(Socket, Http), Failure> {
    let mut socket = Socket::open(address, &phone.token).await?;
    let mut http = Http::open(address).await?;
    let pending = async {
        let (mut hint, mut arrived) = (0, 0_u32);
        while arrived == 0 {
            socket.pump(|frame| arrived += u32::from(Mark::find(frame, &mut hint).is_some())).await?;
        }
        Ok(())
    };
    let asked = async { http.call("POST /api/chat/chatGetmessageOffLine", &phone.token, &json!({})).await.map(|_| ()) };
    tokio::try_join!(pending, asked)?;
    Ok((socket, http))
}
