//! A load on a thread of its own: beside it the chat's generator, which has one thread, would wait for its turn, and that wait
//! would count as the server's.

use std::thread::{self, JoinHandle};

use tokio::{runtime::Builder, sync::oneshot, task::LocalSet};

use crate::failure::{Failure, While};

/// A load that runs until it is stopped.
pub struct Apart<T> {
    thread: JoinHandle<Result<T, Failure>>,
    stop: oneshot::Sender<()>,
}

impl<T: Send + 'static> Apart<T> {
    /// Starts it; what it is given ends when it shall stop.
    pub fn start<F: Future<Output = Result<T, Failure>>>(
        job: impl FnOnce(oneshot::Receiver<()>) -> F + Send + 'static,
    ) -> Self {
        let (stop, until) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().doing("starting a runtime")?;
            LocalSet::new().block_on(&runtime, job(until))
        });
        Self { thread, stop }
    }

    /// Stops it and waits for its end.
    pub fn stop(self) -> Result<T, Failure> {
        // It may have ended.
        let _ = self.stop.send(());
        self.thread.join().unwrap_or_else(|_| Err(Failure::new("a thread of the generator panicked")))
    }
}
