//! Asks the server for the same few things again and again, on one connection or on several beside each other.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use tokio::time::sleep;

use crate::{
    crew::Crew,
    failure::Failure,
    figures::{Times, float, micros},
    http::Http,
    mark::now_ns,
    procfs::CpuReading,
    server::Server,
};

/// Connections that ask without end, each its next request when the last one is answered.
pub struct Asking {
    crew: Crew,
    tally: Rc<Tally>,
}

/// What was found in the measured time.
pub struct Asked {
    /// Request to the end of the answer.
    pub times: Times,
    pub answers_a_second: f64,
    pub cpu_ms_an_answer: f64,
}

#[derive(Default)]
struct Tally {
    measuring: Cell<bool>,
    stop: Cell<bool>,
    times: RefCell<Times>,
}

impl Asking {
    /// Starts to ask: the connections take turns with `requests`.
    pub fn start(address: SocketAddr, requests: Vec<Vec<u8>>, connections: usize) -> Self {
        let (tally, requests) = (Rc::new(Tally::default()), Rc::new(requests));
        let mut crew = Crew::default();
        for lane in 0..connections {
            let (tally, requests) = (Rc::clone(&tally), Rc::clone(&requests));
            crew.add(async move {
                let mut http = Http::open(address).await?;
                for request in requests.iter().cycle().skip(lane).step_by(connections) {
                    if tally.stop.get() {
                        break;
                    }
                    let asked_ns = now_ns();
                    http.exchange(request).await?.accepted()?;
                    if tally.measuring.get() {
                        tally.times.borrow_mut().add_ns(now_ns() - asked_ns);
                    }
                }
                Ok(())
            });
        }
        Self { crew, tally }
    }

    /// Waits for `measure` while the connections ask; its answers are counted from now on.
    pub async fn beside<T>(&mut self, measure: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        self.tally.measuring.set(true);
        let outcome = tokio::select! {
            outcome = measure => outcome,
            failure = self.crew.failure() => Err(failure),
        };
        self.tally.measuring.set(false);
        outcome
    }

    /// Ends when the last answers are there; hands out the times of those that were counted.
    pub async fn stop(mut self) -> Result<Times, Failure> {
        self.tally.stop.set(true);
        self.crew.finish().await?;
        Ok(self.tally.times.take())
    }
}

/// Asks for a while.
pub async fn ask(
    server: &Server,
    requests: Vec<Vec<u8>>,
    connections: usize,
    [warm_up, measured]: [Duration; 2],
) -> Result<Asked, Failure> {
    let mut asking = Asking::start(server.address, requests, connections);
    tokio::select! {
        () = sleep(warm_up) => {}
        failure = asking.crew.failure() => return Err(failure),
    }
    let before = CpuReading::take(server.pid())?;
    asking
        .beside(async {
            sleep(measured).await;
            Ok(())
        })
        .await?;
    let cpu = CpuReading::take(server.pid())?.since(&before);
    let times = asking.stop().await?;
    if times.count() == 0 {
        return Err(Failure::new(format!("no answer within {measured:?}")));
    }
    let answers = float(times.count());
    let answers_a_second = answers / measured.as_secs_f64();
    Ok(Asked { times, answers_a_second, cpu_ms_an_answer: micros(cpu) / 1e3 / answers })
}
