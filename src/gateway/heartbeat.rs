//! The text heartbeat of every socket, spread over its period; one task for all of them.

use std::sync::Arc;
use std::time::Duration;

use super::signal::Signal;
use crate::app::App;

/// Sockets are visited in this many slices of the period.
const SLICES: u64 = 30;

/// Sends each socket `{"type":"ping"}` once a period, until the server stops.
pub async fn run(app: Arc<App>) {
    let period = Duration::from_secs(app.config.ws.heartbeat_s);
    let frame = Signal::Ping.frame();
    let mut slice = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep(period / u32::try_from(SLICES).unwrap_or(1)) => {}
            () = app.stop.cancelled() => return,
        }
        slice = (slice + 1) % SLICES;
        for socket in app.hub.sockets(|socket| socket.id % SLICES == slice) {
            if !socket.beat(frame.clone()) {
                app.metrics.overflows.transient.inc();
            }
        }
        app.hub.forget_asked();
    }
}
