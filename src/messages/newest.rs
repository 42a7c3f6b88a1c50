//! The newest message that is known to be committed, and what to do if the store forgets it: a MySQL whose replica took over
//! before it had everything, a backup that was restored under a running server.
//!
//! Ids would begin again from an older one. Memory knows more than the store then: cursors, written, would pass new messages that nobody
//! has, and sockets would take new ones for those that they carried. So from the moment on that it is seen, no message and no
//! confirmation is written any more, and the server ends; a new start knows no more than the store does.
//!
//! What is known is always taken *before* the store is looked at: whoever commits meanwhile, here or late, only adds to it.

use std::sync::atomic::{AtomicI64, Ordering};

use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::error::{AppError, Result};
use crate::ids::MessageId;

/// See the module.
#[derive(Debug, Default)]
pub struct Newest {
    id: AtomicI64,
    forgotten: CancellationToken,
}

impl Newest {
    /// The newest message that this process knows to be committed.
    pub fn get(&self) -> MessageId {
        MessageId(self.id.load(Ordering::Relaxed))
    }

    /// Takes note that messages up to this one are committed.
    pub fn grow(&self, id: MessageId) {
        self.id.fetch_max(id.0, Ordering::Relaxed);
    }

    /// As [`Newest::get`], but an error for good once the store has forgotten messages.
    pub fn intact(&self) -> Result<MessageId> {
        if self.forgotten.is_cancelled() { Err(AppError::unavailable(FORGOTTEN)) } else { Ok(self.get()) }
    }

    /// Compares what was known with the newest message that a transaction which has written found after that. If that is older, the
    /// store has forgotten messages, and this is an error for good.
    pub fn compare(&self, known: MessageId, found: MessageId) -> Result<()> {
        if found < known && !self.forgotten.is_cancelled() {
            error!(known = known.0, found = found.0, "{FORGOTTEN}: {ADVICE}");
            self.forgotten.cancel();
        }
        self.intact().map(drop)
    }

    /// The same with the id that a new message got.
    pub fn compare_next(&self, known: MessageId, first: MessageId) -> Result<()> {
        self.compare(MessageId(known.0 + 1), first)
    }

    /// Returns when the store has forgotten messages.
    pub async fn forgotten(&self) -> AppError {
        self.forgotten.cancelled().await;
        AppError::internal(FORGOTTEN)
    }
}

/// Compares what was known with the newest message that was read after that. What is behind may only be a machine that is about to be
/// left, as in a change of the primary: an error, and no more.
pub fn compare_read(known: MessageId, found: MessageId) -> Result<()> {
    if found < known { Err(AppError::unavailable(BEHIND)) } else { Ok(()) }
}

const FORGOTTEN: &str = "the database has lost messages that it had committed";
const ADVICE: &str = "a replica that was behind has taken over, or a backup was restored or new messages were deleted under the running \
                      server. No message and no confirmation is written any more, lest new messages be lost as well, and this server \
                      ends; a start goes on from what the database has";
const BEHIND: &str =
    "the database that was asked lacks messages that are committed; is database_url the primary's own address?";

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_known_must_stay_in_the_store() {
        let newest = Newest::default();
        newest.grow(MessageId(7));
        newest.grow(MessageId(5));
        assert_eq!(newest.get(), MessageId(7));
        newest.compare(MessageId(7), MessageId(7)).unwrap();
        newest.compare_next(MessageId(7), MessageId(8)).unwrap();
        assert!(newest.compare_next(MessageId(7), MessageId(7)).is_err());
        assert!(newest.intact().is_err() && newest.compare(MessageId(7), MessageId(9)).is_err(), "for good");
        newest.forgotten().await;
    }

    #[tokio::test]
    async fn a_store_that_has_less_than_was_known_has_forgotten() {
        let newest = Newest::default();
        newest.grow(MessageId(3));
        assert!(newest.compare(newest.get(), MessageId(2)).is_err());
    }

    /// MariaDB shows a message to others while it still waits for a replica, and filing sees it before its own sender does.
    #[tokio::test]
    async fn what_others_learn_meanwhile_is_no_loss() {
        let newest = Newest::default();
        newest.grow(MessageId(3));
        let known = newest.intact().unwrap();
        newest.grow(MessageId(4));
        newest.compare_next(known, MessageId(4)).unwrap();
        newest.compare(known, MessageId(3)).unwrap();
    }

    #[test]
    fn a_machine_that_is_behind_is_read_again_and_nothing_ends() {
        let newest = Newest::default();
        newest.grow(MessageId(3));
        assert!(compare_read(newest.get(), MessageId(2)).is_err());
        compare_read(newest.get(), MessageId(3)).unwrap();
        newest.intact().unwrap();
    }
}
