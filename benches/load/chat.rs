//! Chat of two under load: pairs of a sender and a recipient who is online. Measures, and checks that every acknowledged
//! message arrives, once and in order.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use crate::{
    crew::Crew,
    failure::{Failure, While},
    figures::{Times, float, micros},
    http::Http,
    letter::{Addressee, Letter},
    mark::{Mark, now_ns},
    people::{self, Person},
    procfs::CpuReading,
    server::Server,
};

/// How long the last messages may take to arrive after the load has ended.
const ARRIVAL_TIME: Duration = Duration::from_secs(10);

/// Pairs of people, the recipients online.
pub struct Chat {
    senders: Vec<Sender>,
    listeners: Crew,
    board: Rc<Board>,
}

/// Somebody who writes, by one connection from the first run to the last: whoever talks does not come back with a herd.
struct Sender {
    person: Person,
    addressee: Addressee,
    /// Not here while it is used.
    http: Rc<Cell<Option<Http>>>,
}

/// How hard and how long.
#[derive(Clone, Copy)]
pub struct Pace {
    pub warm_up: Duration,
    pub measured: Duration,
    /// Each sender's time from send to send; without it, the next send follows the answer.
    pub gap: Option<Duration>,
}

/// What a load found.
pub struct Report {
    pub messages_a_second: f64,
    pub cpu_micros_a_message: f64,
    /// The same for the MySQL server, where there is one.
    pub mysql_micros_a_message: Option<f64>,
    /// Send to arrival at the recipient's socket.
    pub delivered: Times,
    /// Send to answer.
    pub answered: Times,
    pub alarms: Vec<String>,
}

#[derive(Default)]
struct Board {
    lines: Vec<Line>,
    from_ns: Cell<u64>,
    until_ns: Cell<u64>,
    stop: Cell<bool>,
    delivered: RefCell<Times>,
    answered: RefCell<Times>,
}

/// One sender to one recipient.
#[derive(Default)]
struct Line {
    acknowledged: Cell<u32>,
    /// The number that should arrive next.
    next: Cell<u32>,
    /// Numbers that were jumped over.
    skipped: Cell<u32>,
    /// Arrivals of a number below the next: a repetition, or one that was jumped over before.
    behind: Cell<u32>,
}

impl Chat {
    /// Registers the people, opens the recipients' doors and sockets. `prefix` keeps the names of two chats apart.
    pub async fn prepare(address: SocketAddr, pairs: usize, prefix: &str) -> Result<Self, Failure> {
        let senders = people::register(address, &format!("{prefix}_s"), pairs).await?;
        let recipients = people::register(address, &format!("{prefix}_r"), pairs).await?;
        people::open_doors(address, &recipients).await?;
        let addressees = recipients.iter().map(|person| Addressee::Person(person.id)).collect();
        Self::between(address, senders, &recipients, addressees).await
    }

    /// The same, where each pair writes in a group of its own.
    pub async fn prepare_in_groups(server: &Server, pairs: usize, prefix: &str) -> Result<Self, Failure> {
        let senders = people::register(server.address, &format!("{prefix}_s"), pairs).await?;
        let recipients = people::register(server.address, &format!("{prefix}_r"), pairs).await?;
        let mut addressees = Vec::with_capacity(pairs);
        for (sender, recipient) in senders.iter().zip(recipients.chunks(1)) {
            addressees.push(Addressee::Group(people::make_group(server, sender, recipient).await?));
        }
        Self::between(server.address, senders, &recipients, addressees).await
    }

    async fn between(
        address: SocketAddr,
        senders: Vec<Person>,
        recipients: &[Person],
        addressees: Vec<Addressee>,
    ) -> Result<Self, Failure> {
        let lines = senders.iter().map(|_| Line::default()).collect();
        let board = Rc::new(Board { lines, ..Board::default() });
        let listeners = people::come_online(address, recipients, |_| {
            let (board, mut hint) = (Rc::clone(&board), 0);
            move |frame: &[u8]| {
                if let Some(mark) = Mark::find(frame, &mut hint) {
                    board.arrived(mark);
                }
            }
        })
        .await?;
        let mut connected = Vec::with_capacity(senders.len());
        for (person, addressee) in senders.into_iter().zip(addressees) {
            let http = Rc::new(Cell::new(Some(Http::open(address).await?)));
            connected.push(Sender { person, addressee, http });
        }
        Ok(Self { senders: connected, listeners, board })
    }

    /// Sends for a while. May be called again: the numbers go on.
    pub async fn run(&mut self, pid: u32, mysql: Option<u32>, pace: Pace) -> Result<Report, Failure> {
        let board = Rc::clone(&self.board);
        board.begin();
        let mut sending = Crew::default();
        for (index, Sender { person, addressee, http }) in self.senders.iter().enumerate() {
            let stream = u32::try_from(index).doing("a stream's number")?;
            let letter = Letter::new(&person.token, *addressee, stream);
            // Paced senders do not all send at the same moment.
            let delay = pace.gap.map(|gap| gap.mul_f64(float(index) / float(self.senders.len())));
            sending.add(send_on(Rc::clone(http), letter, Rc::clone(&board), pace.gap.zip(delay)));
        }
        let measure = async {
            sleep(pace.warm_up).await;
            let before = Reading::take(&board, pid, mysql)?;
            board.from_ns.set(now_ns());
            sleep(pace.measured).await;
            board.until_ns.set(now_ns());
            Ok::<_, Failure>((before, Reading::take(&board, pid, mysql)?))
        };
        let (before, after) = tokio::select! {
            readings = measure => readings?,
            failure = sending.failure() => return Err(failure),
            failure = self.listeners.failure() => return Err(failure),
        };
        board.stop.set(true);
        sending.finish().await?;
        let alarms = board.wait_for_arrivals().await;
        let messages = float(after.acknowledged - before.acknowledged);
        let seconds = Duration::from_nanos(board.until_ns.get() - board.from_ns.get()).as_secs_f64();
        let mysql_cpu = after.mysql.zip(before.mysql).map(|(after, before)| micros(after.since(&before)));
        Ok(Report {
            messages_a_second: messages / seconds,
            cpu_micros_a_message: micros(after.cpu.since(&before.cpu)) / messages,
            mysql_micros_a_message: mysql_cpu.map(|cpu| cpu / messages),
            delivered: board.delivered.take(),
            answered: board.answered.take(),
            alarms,
        })
    }
}

struct Reading {
    cpu: CpuReading,
    mysql: Option<CpuReading>,
    acknowledged: u64,
}

impl Reading {
    fn take(board: &Board, pid: u32, mysql: Option<u32>) -> Result<Self, Failure> {
        let acknowledged = board.lines.iter().map(|line| u64::from(line.acknowledged.get())).sum();
        // The MySQL server may belong to another user, whose threads cannot be read: then there is no figure.
        let mysql = mysql.and_then(|pid| CpuReading::take(pid).ok());
        Ok(Self { cpu: CpuReading::take(pid)?, mysql, acknowledged })
    }
}

async fn send_on(
    connection: Rc<Cell<Option<Http>>>,
    mut letter: Letter,
    board: Rc<Board>,
    gap_and_delay: Option<(Duration, Duration)>,
) -> Result<(), Failure> {
    let mut http = connection.take().ok_or_else(|| Failure::new("a sender's connection is in use"))?;
    let line = &board.lines[letter.stream()];
    let mut ticks = gap_and_delay.map(|(gap, delay)| {
        let mut ticks = interval_at(Instant::now() + delay, gap);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticks
    });
    while !board.stop.get() {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        let seq = line.acknowledged.get();
        let (request, at_ns) = letter.stamp(seq);
        http.exchange(request).await?.accepted()?;
        line.acknowledged.set(seq + 1);
        if board.is_measured(at_ns) {
            board.answered.borrow_mut().add_ns(now_ns() - at_ns);
        }
    }
    connection.set(Some(http));
    Ok(())
}

impl Board {
    fn begin(&self) {
        self.stop.set(false);
        self.from_ns.set(u64::MAX);
        self.until_ns.set(u64::MAX);
    }

    fn is_measured(&self, at_ns: u64) -> bool {
        (self.from_ns.get()..self.until_ns.get()).contains(&at_ns)
    }

    fn arrived(&self, mark: Mark) {
        let Some(line) = usize::try_from(mark.stream).ok().and_then(|stream| self.lines.get(stream)) else {
            return;
        };
        let next = line.next.get();
        if mark.seq < next {
            line.behind.set(line.behind.get() + 1);
            return;
        }
        line.skipped.set(line.skipped.get() + mark.seq - next);
        line.next.set(mark.seq + 1);
        if self.is_measured(mark.at_ns) {
            self.delivered.borrow_mut().add_ns(now_ns() - mark.at_ns);
        }
    }

    /// Waits until all that was acknowledged has arrived; says what has not, and what came out of order.
    async fn wait_for_arrivals(&self) -> Vec<String> {
        let deadline = Instant::now() + ARRIVAL_TIME;
        let missing = |line: &Line| line.acknowledged.get().saturating_sub(line.next.get());
        while Instant::now() < deadline && self.lines.iter().any(|line| missing(line) > 0) {
            sleep(Duration::from_millis(5)).await;
        }
        let total = |part: &dyn Fn(&Line) -> u32| self.lines.iter().map(|line| u64::from(part(line))).sum::<u64>();
        let (skipped, behind) = (total(&|line| line.skipped.get()), total(&|line| line.behind.get()));
        let lost = total(&missing) + skipped.saturating_sub(behind);
        let mut alarms = Vec::new();
        if lost > 0 {
            let acknowledged = total(&|line| line.acknowledged.get());
            alarms.push(format!("LOST {lost} of {acknowledged} acknowledged messages"));
        }
        if skipped > 0 || behind > 0 {
            alarms.push(format!("OUT OF ORDER: {skipped} jumped over, {behind} late or repeated"));
        }
        alarms
    }
}
