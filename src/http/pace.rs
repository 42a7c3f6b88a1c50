//! How slow a transfer may be: one that stands still, or trickles, keeps a place that others need.

use std::time::Duration;

use tokio::time::Instant;

/// The slowest transfer that is waited for, beside the time that one may stand still: what the worst mobile network carries.
const BYTES_PER_SECOND_MIN: u64 = 1024;

/// Says until when more must have moved. Each byte earns a bit of time, up to the stall that is allowed.
#[derive(Debug)]
pub struct Pace {
    stall: Duration,
    due: Instant,
}

impl Pace {
    /// A transfer that begins now and may stand still for `stall`.
    pub fn new(stall: Duration, now: Instant) -> Self {
        Self { stall, due: now + stall }
    }

    /// So many bytes moved.
    pub fn moved(&mut self, bytes: usize, now: Instant) {
        let earned = Duration::from_millis(bytes as u64 * 1000 / BYTES_PER_SECOND_MIN);
        self.due = (self.due + earned).min(now + self.stall);
    }

    /// For so long it was we who took nothing: that time does not count.
    pub fn excused(&mut self, time: Duration) {
        self.due += time;
    }

    /// When it is given up unless more moves before.
    pub const fn due(&self) -> Instant {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_secs(30);

    /// How long a transfer lasts that moves so many bytes every so many seconds.
    fn lasts(bytes: usize, every: u64) -> Option<u64> {
        let start = Instant::now();
        let mut pace = Pace::new(STALL, start);
        for second in (every..100_000).step_by(usize::try_from(every).unwrap()) {
            let now = start + Duration::from_secs(second);
            if pace.due() < now {
                return Some((pace.due() - start).as_secs());
            }
            pace.moved(bytes, now);
        }
        None
    }

    #[test]
    fn whoever_keeps_the_pace_may_go_on_for_ever_and_nobody_else() {
        assert_eq!(lasts(1024, 1), None);
        assert_eq!(lasts(16 * 1024, 15), None);
        assert_eq!(lasts(1_000_000, 29), None, "a burst now and then");
        assert_eq!(lasts(1_000_000, 31), Some(30), "but it may not stand still");
        assert_eq!(lasts(1, 1), Some(30), "a trickle lasts no longer than nothing");
        assert_eq!(lasts(512, 1), Some(59));
    }

    #[test]
    fn time_in_which_nothing_was_taken_does_not_count() {
        let start = Instant::now();
        let mut pace = Pace::new(STALL, start);
        pace.moved(1024, start);
        pace.excused(Duration::from_secs(100));
        assert_eq!(pace.due() - start, STALL + Duration::from_secs(100));
    }
}
