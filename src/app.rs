//! What every handler and background task shares: the kits, and one state of each feature that keeps any.
//!
//! The one module that names features from rows above its own. Apart from `detached` it does nothing.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accounts::{self, passwords::Passwords, tokens::Tokens};
use crate::blobs::Blobs;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::{Db, in_time};
use crate::error::{AppError, Result};
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::{answers, friends, gateway, groups, media, messages, visitors};

/// The state that axum hands to handlers.
pub type Shared = Arc<App>;

/// One running server.
#[derive(Debug)]
#[expect(missing_docs, reason = "each field is documented at its type")]
pub struct App {
    pub config: Config,
    pub clock: Clock,
    pub metrics: Metrics,
    pub db: Db,
    pub hub: Hub,
    pub blobs: Blobs,
    pub passwords: Passwords,
    pub tokens: Tokens,
    pub accounts: accounts::State,
    pub visitors: visitors::State,
    pub friends: friends::State,
    pub groups: groups::State,
    pub answers: answers::State,
    pub media: media::State,
    pub messages: messages::State,
    pub gateway: gateway::State,
    /// Background work and connections; a stop waits for it.
    pub tasks: TaskTracker,
    /// Cancelled when the server is to stop.
    pub stop: CancellationToken,
}

impl App {
    /// Runs `work` to its end even if the client goes away meanwhile: a commit must be followed by its pushes. It has a time limit
    /// ([`in_time`]), since it may hold the posting lock, and a store that vanished without a word would never give that back.
    pub async fn detached<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        // Boxed, because it is large and would be held twice.
        self.tasks.spawn(in_time(Box::pin(work))).await.map_err(AppError::internal)?
    }
}
