//! Group chat under load: a few streams into one group, some of whose members are online. A stream's next message follows
//! when its last one has reached every socket, so that the bounds of no outbox are tried.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

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
    setting::Setting,
};

/// How long a message may take to reach the last socket.
const ARRIVAL_TIME: Duration = Duration::from_secs(15);
/// Bounds what each listener keeps for each stream.
const STREAMS_MAX: usize = 64;

/// A group whose owner writes from no socket to those who are online.
pub struct Fan {
    address: SocketAddr,
    owner: Person,
    group_id: u64,
    listeners: Crew,
    board: Rc<Board>,
    streams_used: usize,
}

/// What a load found.
pub struct Report {
    pub messages_a_second: f64,
    pub deliveries_a_second: f64,
    pub cpu_micros_a_delivery: f64,
    pub cpu_micros_a_message: f64,
    /// Send to answer.
    pub answered: Times,
    /// Send to arrival at the last of the sockets.
    pub complete: Times,
    pub alarms: Vec<String>,
}

#[derive(Default)]
struct Board {
    online: usize,
    streams: Vec<Stream>,
    deliveries: Cell<u64>,
    messages: Cell<u64>,
    measuring: Cell<bool>,
    stop: Cell<bool>,
    disorder: Cell<u64>,
    answered: RefCell<Times>,
    complete: RefCell<Times>,
}

/// At most one message of a stream is on its way.
#[derive(Default)]
struct Stream {
    missing: Cell<usize>,
    complete: Notify,
}

impl Fan {
    /// Makes a group of an owner and `members`, of whom the first `online` open a socket.
    pub async fn prepare(server: &Server, prefix: &str, members: usize, online: usize) -> Result<Self, Failure> {
        let address = server.address;
        let owner = people::register(address, &format!("{prefix}_own"), 1).await?.remove(0);
        let others = people::register(address, &format!("{prefix}_mem"), members).await?;
        let group_id = people::make_group(server, &owner, &others).await?;
        let streams = (0..STREAMS_MAX).map(|_| Stream::default()).collect();
        let board = Rc::new(Board { online, streams, ..Board::default() });
        let listeners = people::come_online(address, &others[..online], |_| {
            let (board, mut hint, mut next) = (Rc::clone(&board), 0, [0_u32; STREAMS_MAX]);
            move |frame: &[u8]| {
                if let Some(mark) = Mark::find(frame, &mut hint) {
                    board.arrived(mark, &mut next);
                }
            }
        })
        .await?;
        Ok(Self { address, owner, group_id, listeners, board, streams_used: 0 })
    }

    /// Sends for a while with `streams` messages on their way at any time.
    pub async fn run(&mut self, pid: u32, setting: &Setting, streams: usize) -> Result<Report, Failure> {
        let board = Rc::clone(&self.board);
        board.stop.set(false);
        let mut sending = Crew::default();
        for index in self.streams_used..self.streams_used + streams {
            let number = u32::try_from(index).doing("a stream's number")?;
            let letter = Letter::new(&self.owner.token, Addressee::Group(self.group_id), number);
            sending.add(send_on(self.address, letter, Rc::clone(&board)));
        }
        self.streams_used += streams;
        let measure = async {
            sleep(setting.warm_up).await;
            let before = Reading::take(&board, pid)?;
            board.measuring.set(true);
            sleep(setting.measured).await;
            board.measuring.set(false);
            Ok::<_, Failure>((before, Reading::take(&board, pid)?))
        };
        let (before, after) = tokio::select! {
            readings = measure => readings?,
            failure = sending.failure() => return Err(failure),
            failure = self.listeners.failure() => return Err(failure),
        };
        board.stop.set(true);
        sending.finish().await?;
        let (deliveries, messages) =
            (float(after.deliveries - before.deliveries), float(after.messages - before.messages));
        let seconds = Duration::from_nanos(after.at_ns - before.at_ns).as_secs_f64();
        let cpu = micros(after.cpu.since(&before.cpu));
        let disorder = board.disorder.take();
        let alarm = || format!("OUT OF ORDER or repeated: {disorder} deliveries");
        Ok(Report {
            messages_a_second: messages / seconds,
            deliveries_a_second: deliveries / seconds,
            cpu_micros_a_delivery: cpu / deliveries,
            cpu_micros_a_message: cpu / messages,
            answered: board.answered.take(),
            complete: board.complete.take(),
            alarms: (disorder > 0).then(alarm).into_iter().collect(),
        })
    }
}

struct Reading {
    at_ns: u64,
    cpu: CpuReading,
    deliveries: u64,
    messages: u64,
}

impl Reading {
    fn take(board: &Board, pid: u32) -> Result<Self, Failure> {
        let cpu = CpuReading::take(pid)?;
        Ok(Self { at_ns: now_ns(), cpu, deliveries: board.deliveries.get(), messages: board.messages.get() })
    }
}

async fn send_on(address: SocketAddr, mut letter: Letter, board: Rc<Board>) -> Result<(), Failure> {
    let mut http = Http::open(address).await?;
    let stream = &board.streams[letter.stream()];
    for seq in 0.. {
        if board.stop.get() {
            break;
        }
        stream.missing.set(board.online);
        let (request, at_ns) = letter.stamp(seq);
        http.exchange(request).await?.accepted()?;
        if board.measuring.get() {
            board.answered.borrow_mut().add_ns(now_ns() - at_ns);
        }
        if timeout(ARRIVAL_TIME, stream.complete.notified()).await.is_err() {
            let (missing, online) = (stream.missing.get(), board.online);
            let text = format!("LOST: an acknowledged message did not reach {missing} of {online} sockets");
            return Err(Failure::new(text));
        }
    }
    Ok(())
}

impl Board {
    fn arrived(&self, mark: Mark, next: &mut [u32; STREAMS_MAX]) {
        let index = usize::try_from(mark.stream).unwrap_or(usize::MAX);
        let (Some(stream), Some(next)) = (self.streams.get(index), next.get_mut(index)) else {
            return;
        };
        if mark.seq != *next {
            self.disorder.set(self.disorder.get() + 1);
            // A repetition must not stand for a socket that got nothing.
            if mark.seq < *next {
                return;
            }
        }
        *next = mark.seq + 1;
        self.deliveries.set(self.deliveries.get() + 1);
        let missing = stream.missing.get().saturating_sub(1);
        stream.missing.set(missing);
        if missing == 0 {
            self.messages.set(self.messages.get() + 1);
            if self.measuring.get() {
                self.complete.borrow_mut().add_ns(now_ns() - mark.at_ns);
            }
            stream.complete.notify_one();
        }
    }
}
