//! A TCP proxy: a network or a database that a test can cut (every connection ends, new ones are refused) or stall (nothing
//! passes, and nobody is told).

use std::net::SocketAddr;
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
    stalled: watch::Sender<bool>,
    running: JoinSet<()>,
}

impl Proxy {
    pub fn to(target: SocketAddr) -> Self {
        let listener = listen("127.0.0.1:0".parse().unwrap());
        let (stalled, state) = watch::channel(false);
        let mut proxy = Self { address: listener.local_addr().unwrap(), target, stalled, running: JoinSet::new() };
        proxy.running.spawn(run(listener, target, state));
        proxy
    }

    /// Ends every connection, as by a reset, and takes no new ones.
    pub async fn cut(&mut self) {
        self.running.shutdown().await;
    }

    /// Takes connections again, at the same address.
    pub fn restore(&mut self) {
        self.running.spawn(run(listen(self.address), self.target, self.stalled.subscribe()));
    }

    /// From now on nothing passes, not even the end of a connection.
    pub fn stall(&self) {
        self.stalled.send_replace(true);
    }

    /// What was held back passes, and everything after it.
    pub fn resume(&self) {
        self.stalled.send_replace(false);
    }
}

fn listen(address: SocketAddr) -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket.listen(1024).unwrap()
}

async fn run(listener: TcpListener, target: SocketAddr, state: watch::Receiver<bool>) {
    // Ends with this task, and with it every connection.
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        let (there, back) = (state.clone(), state.clone());
        connections.spawn(async move {
            let far = TcpStream::connect(target).await.expect("the target answers");
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

async fn pipe(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut stalled: watch::Receiver<bool>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut buffer).await.unwrap_or_default();
        if stalled.wait_for(|stalled| !stalled).await.is_err() || length == 0 {
            return;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
