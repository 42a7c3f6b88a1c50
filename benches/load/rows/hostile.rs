//! Hostile clients beside chat: heads and bodies that trickle, replies that nobody reads, connections that come and go. What the
//! chat's p99 suffers, and what the server's memory grows by.

use std::{fs, net::SocketAddr, rc::Rc, time::Duration};

use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    sync::oneshot,
    time::sleep,
};

use crate::{
    apart::Apart,
    chat::{Chat, Pace},
    crew::Crew,
    failure::{Failure, While},
    figures::{Findings, Goal, float},
    procfs,
    server::{CHEAP_PASSWORDS, Server},
    setting::Setting,
};

const CHAT_PAIRS: usize = 16;
/// 16 senders at this gap are 200 messages a second: a load at which the chat alone has a calm p99.
const CHAT_GAP: Duration = Duration::from_millis(80);
/// Loopback has as many addresses as one likes: to the server these are machines of their own.
const ATTACKERS: [[u8; 4]; 4] = [[127, 0, 0, 2], [127, 0, 0, 3], [127, 0, 0, 4], [127, 0, 0, 5]];
/// Connections that each of them tries to hold, and may hold. The chat's own are fewer.
const TRIES: usize = 700;
const SHARE: &str = "500";
/// How often each of them connects and leaves.
const COMING_GAP: Duration = Duration::from_millis(5);
const TRICKLE_GAP: Duration = Duration::from_millis(500);
const FILE_BYTES: usize = 24 * 1024 * 1024;

pub async fn run(setting: &Setting) -> Result<Findings, Failure> {
    let share = [("QINGNIAO_HTTP_CONNECTIONS_PER_ADDRESS_MAX", SHARE)];
    let server = Server::start(setting, &[CHEAP_PASSWORDS, &share].concat()).await?;
    fs::write(server.directory.path().join("public/large.bin"), vec![7; FILE_BYTES]).doing("making a large file")?;
    let mut chat = Chat::prepare(server.address, CHAT_PAIRS, "chat").await?;
    let pace = Pace { warm_up: setting.warm_up, measured: setting.measured, gap: Some(CHAT_GAP) };
    let mut calm = chat.run(server.pid(), None, pace).await?;

    let (before, tcp_before) = (procfs::rss_kib(server.pid())?, procfs::tcp_kib()?);
    procfs::reset_peak(server.pid())?;
    let address = server.address;
    let attack = Apart::start(move |until| attack(address, until));
    let stormy = chat.run(server.pid(), None, pace).await;
    let (peak, tcp) = (procfs::peak_rss_kib(server.pid())?, procfs::tcp_kib()?);
    attack.stop()?;
    let mut stormy = stormy?;

    let (calm_p99, stormy_p99) = (calm.delivered.quantile_ms(0.99), stormy.delivered.quantile_ms(0.99));
    let mut findings = Findings::default();
    findings.tell("chat p99 beside the attack ÷ without", stormy_p99 / calm_p99, Goal::AtMost(2.0));
    findings.tell("RSS growth, MiB", float(peak.saturating_sub(before)) / 1024.0, Goal::Told);
    findings.tell("growth of the kernel's TCP memory, MiB", float(tcp.saturating_sub(tcp_before)) / 1024.0, Goal::Told);
    findings.tell("chat p99 without, ms", calm_p99, Goal::Told);
    findings.tell("chat p99 beside the attack, ms", stormy_p99, Goal::Told);
    findings.tell("chat p50 without, ms", calm.delivered.quantile_ms(0.5), Goal::Told);
    findings.tell("chat p50 beside the attack, ms", stormy.delivered.quantile_ms(0.5), Goal::Told);
    findings.alarms.extend(calm.alarms.into_iter().chain(stormy.alarms));
    Ok(findings)
}

/// All the attackers, until they are told to stop.
async fn attack(server: SocketAddr, until: oneshot::Receiver<()>) -> Result<(), Failure> {
    let mut crew = Crew::default();
    for attacker in ATTACKERS {
        let padding: Rc<[u8]> = vec![b' '; 200_000].into();
        for number in 0..TRIES {
            let padding = Rc::clone(&padding);
            crew.add(async move {
                hold(attacker, server, number, &padding).await;
                // Crews end with their first member: one that was refused has done its part.
                std::future::pending().await
            });
        }
        crew.add(async move { come_and_go(attacker, server).await });
    }
    tokio::select! {
        _ = until => Ok(()),
        failure = crew.failure() => Err(failure),
    }
}

async fn connect_from(source: [u8; 4], server: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((source, 0)))?;
    socket.connect(server).await
}

/// Holds a connection in one of three ways for as long as the server lets it. Whatever ends it is what the server is to do.
async fn hold(source: [u8; 4], server: SocketAddr, number: usize, padding: &[u8]) {
    let Ok(mut stream) = connect_from(source, server).await else { return };
    let (begin, filling): (&[u8], usize) = match number % 3 {
        0 => (b"GET /nothing HTTP/1.1\r\nhost: x\r\nlong: ", 10_000),
        1 => (
            b"POST /api/loginChat HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n",
            200_000,
        ),
        _ => (b"GET /public/large.bin HTTP/1.1\r\nhost: x\r\n\r\n", 0),
    };
    if stream.write_all(begin).await.is_err() || stream.write_all(&padding[..filling]).await.is_err() {
        return;
    }
    while number % 3 == 2 || stream.write_all(b" ").await.is_ok() {
        sleep(TRICKLE_GAP).await;
    }
}

async fn come_and_go(source: [u8; 4], server: SocketAddr) -> Result<(), Failure> {
    loop {
        if let Ok(mut stream) = connect_from(source, server).await {
            // It may be refused already.
            let _ = stream.write_all(b"GET / HT").await;
        }
        sleep(COMING_GAP).await;
    }
}
