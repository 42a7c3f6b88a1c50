//! Offline drain: 10,000 messages wait for one user, who comes online and asks for them.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    crew::{Crew, spread},
    failure::{Failure, While},
    figures::{Findings, Goal, float, millis},
    http::Http,
    letter::{Addressee, Letter},
    mark::Mark,
    people, procfs,
    server::{CHEAP_PASSWORDS, Server},
    setting::Setting,
    ws::Socket,
};

const MESSAGES: u32 = 10_000;
const SENDERS: u32 = 10;
const ARRIVAL_TIME: Duration = Duration::from_secs(30);
const SETTLING_TIME: Duration = Duration::from_secs(2);

#[derive(Default)]
struct Inbox {
    next: RefCell<Vec<u32>>,
    arrived: Cell<u32>,
    disorder: Cell<u32>,
    last: Cell<Option<Instant>>,
}

pub async fn run(setting: &Setting) -> Result<Findings, Failure> {
    let server = Server::start(setting, CHEAP_PASSWORDS).await?;
    let address = server.address;
    let recipient = people::register(address, "absent", 1).await?;
    people::open_doors(address, &recipient).await?;
    let recipient = &recipient[0];
    fill(&server, recipient.id).await?;
    sleep(SETTLING_TIME).await;

    let before = procfs::rss_kib(server.pid())?;
    procfs::reset_peak(server.pid())?;
    let inbox =
        Rc::new(Inbox { next: RefCell::new(vec![0; usize::try_from(SENDERS).unwrap_or(0)]), ..Inbox::default() });
    let mut socket = Socket::open(address, &recipient.token).await?;
    let mut http = Http::open(address).await?;
    let mut listener = Crew::default();
    let reading = Rc::clone(&inbox);
    listener.add(async move {
        let mut hint = 0;
        loop {
            socket
                .pump(|frame| Mark::find(frame, &mut hint).into_iter().for_each(|mark| reading.arrived(mark)))
                .await?;
        }
    });
    let begun = Instant::now();
    http.call("POST /api/chat/chatGetmessageOffLine", &recipient.token, &json!({})).await?;
    let answered = begun.elapsed();
    let deadline = begun + ARRIVAL_TIME;
    while inbox.arrived.get() < MESSAGES && Instant::now() < deadline {
        tokio::select! {
            failure = listener.failure() => return Err(failure),
            () = sleep(Duration::from_millis(5)) => {}
        }
    }
    let peak = procfs::peak_rss_kib(server.pid())?;

    let mut findings = Findings::default();
    let (arrived, disorder) = (inbox.arrived.get(), inbox.disorder.get());
    let took = inbox.last.get().doing("a message from the queue")?.duration_since(begun);
    findings.tell("messages handed out", float(arrived), Goal::AtLeast(float(MESSAGES)));
    findings.tell("time to the last, s", took.as_secs_f64(), Goal::AtMost(1.0));
    findings.tell("time to the answer, ms", millis(answered), Goal::Told);
    findings.tell("RSS growth at the peak, MiB", float(peak.saturating_sub(before)) / 1024.0, Goal::AtMost(20.0));
    if arrived < MESSAGES {
        findings.alarms.push(format!("LOST {} of {MESSAGES} acknowledged messages", MESSAGES - arrived));
    }
    if disorder > 0 {
        findings.alarms.push(format!("OUT OF ORDER or repeated: {disorder} messages"));
    }
    Ok(findings)
}

/// Sends all messages while the recipient is away: some senders beside each other, each in order.
async fn fill(server: &Server, recipient: u64) -> Result<(), Failure> {
    let senders = people::register(server.address, "away", usize::try_from(SENDERS).unwrap_or(0)).await?;
    spread(server.address, senders.len(), async |http: &mut Http, index| {
        let stream = u32::try_from(index).doing("a stream's number")?;
        let mut letter = Letter::new(&senders[index].token, Addressee::Person(recipient), stream);
        for seq in 0..MESSAGES / SENDERS {
            http.exchange(letter.stamp(seq).0).await?.accepted()?;
        }
        Ok(())
    })
    .await
    .map(|_| ())
}

impl Inbox {
    fn arrived(&self, mark: Mark) {
        let mut next = self.next.borrow_mut();
        let Some(next) = usize::try_from(mark.stream).ok().and_then(|stream| next.get_mut(stream)) else {
            return;
        };
        if mark.seq != *next {
            self.disorder.set(self.disorder.get() + 1);
            if mark.seq < *next {
                return;
            }
        }
        *next = mark.seq + 1;
        self.arrived.set(self.arrived.get() + 1);
        self.last.set(Some(Instant::now()));
    }
}
