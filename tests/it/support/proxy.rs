//! A TCP proxy: a network or a database that a test can cut (every connection ends, new ones are refused), stall (nothing
//! passes, and nobody is told) or slow.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Passes connections on to `target` until it is cut.
pub struct Proxy {
    pub address: SocketAddr,
    target: SocketAddr,
    state: watch::Sender<State>,
    opened: Arc<AtomicU64>,
    running: JoinSet<()>,
}

#[derive(Clone, Copy, Default)]
struct State {
    /// Connections whose number is lower are stalled.
    stalled: u64,
    /// What each piece waits before it is passed on.
    delay: Duration,
}

impl Proxy {
    pub fn to(target: SocketAddr) -> Self {
        let listener = listen("127.0.0.1:0".parse().unwrap());
        let address = listener.local_addr().unwrap();
        let (state, opened) = (watch::Sender::new(State::default()), Arc::default());
        let mut proxy = Self { address, target, state, opened, running: JoinSet::new() };
        proxy.run(listener);
        proxy
    }

    fn run(&mut self, listener: TcpListener) {
        self.running.spawn(run(listener, self.target, self.opened.clone(), self.state.subscribe()));
    }

    /// Ends every connection, as by a reset, and takes no new ones.
    pub async fn cut(&mut self) {
        self.running.shutdown().await;
    }

    /// Takes connections again, at the same address.
    pub fn restore(&mut self) {
        self.run(listen(self.address));
    }

    /// From now on nothing passes, not even the end of a connection.
    pub fn stall(&self) {
        self.state.send_modify(|state| state.stalled = u64::MAX);
    }

    /// From now on nothing passes by the connections that are open; new ones are as good as ever.
    pub fn abandon(&self) {
        self.state.send_modify(|state| state.stalled = self.opened.load(Ordering::Relaxed));
    }

    /// What was held back passes, and everything after it.
    pub fn resume(&self) {
        self.state.send_modify(|state| state.stalled = 0);
    }

    /// From now on each piece, there and back, arrives so much later.
    pub fn slow(&self, delay: Duration) {
        self.state.send_modify(|state| state.delay = delay);
    }
}

fn listen(address: SocketAddr) -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket.listen(1024).unwrap()
}

async fn run(listener: TcpListener, target: SocketAddr, opened: Arc<AtomicU64>, state: watch::Receiver<State>) {
    // Ends with this task, and with it every connection.
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        let number = opened.fetch_add(1, Ordering::Relaxed);
        let (there, back) = (Gate { number, state: state.clone() }, Gate { number, state: state.clone() });
        connections.spawn(async move {
            // Without a target the caller's connection ends.
            let Ok(far) = TcpStream::connect(target).await else { return };
            for stream in [&near, &far] {
                socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
                stream.set_nodelay(true).unwrap();
            }
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            // Either side may go away at any time.
            tokio::select! {
                () = pipe(near_in, far_out, there) => {}
                () = pipe(far_in, near_out, back) => {}
            }
        });
    }
}

/// Stops what comes by a connection while it is stalled.
struct Gate {
    number: u64,
    state: watch::Receiver<State>,
}

impl Gate {
    async fn passed(&mut self) -> bool {
        let delay = self.state.borrow().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        self.state.wait_for(|state| state.stalled <= self.number).await.is_ok()
    }
}

async fn pipe(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut gate: Gate) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut buffer).await.unwrap_or_default();
        if !gate.passed().await || length == 0 {
            return;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
