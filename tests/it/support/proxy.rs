//! A TCP proxy that a test can cut and restore: a database that goes away and comes back.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// Passes connections on to `target` until it is cut.
pub struct Proxy {
    pub address: SocketAddr,
    target: SocketAddr,
    running: JoinSet<()>,
}

impl Proxy {
    pub fn to(target: SocketAddr) -> Self {
        let listener = listen("127.0.0.1:0".parse().unwrap());
        let mut proxy = Self { address: listener.local_addr().unwrap(), target, running: JoinSet::new() };
        proxy.running.spawn(run(listener, target));
        proxy
    }

    /// Ends every connection and takes no new ones.
    pub async fn cut(&mut self) {
        self.running.shutdown().await;
    }

    /// Takes connections again, at the same address.
    pub fn restore(&mut self) {
        self.running.spawn(run(listen(self.address), self.target));
    }
}

fn listen(address: SocketAddr) -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket.listen(64).unwrap()
}

async fn run(listener: TcpListener, target: SocketAddr) {
    // Ends with this task, and with it every connection.
    let mut connections = JoinSet::new();
    while let Ok((mut near, _)) = listener.accept().await {
        connections.spawn(async move {
            let mut far = TcpStream::connect(target).await.expect("the target answers");
            // Either side may go away at any time.
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        });
    }
}
