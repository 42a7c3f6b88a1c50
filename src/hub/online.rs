//! One bit a user: connected or not. A message to a group of thousands asks it once a member, which must cost next to
//! nothing for those who are away.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ids::UserId;

/// Words of 64 users in one page.
const PAGE_WORDS: usize = 1024;
/// Pages; a user id beyond the last one counts as connected, and the map decides.
const PAGES: usize = 4096;

type Page = Box<[AtomicU64]>;

/// A bitmap over user ids that grows page by page.
#[derive(Debug)]
pub struct Online(Box<[OnceLock<Page>]>);

impl Online {
    pub fn new() -> Self {
        Self((0..PAGES).map(|_| OnceLock::new()).collect())
    }

    pub fn get(&self, user: UserId) -> bool {
        let Some((page, word, bit)) = place(user) else { return true };
        self.0[page].get().is_some_and(|page| page[word].load(Ordering::SeqCst) & bit != 0)
    }

    pub fn set(&self, user: UserId, online: bool) {
        let Some((page, word, bit)) = place(user) else { return };
        let page = self.0[page].get_or_init(|| (0..PAGE_WORDS).map(|_| AtomicU64::new(0)).collect());
        if online {
            page[word].fetch_or(bit, Ordering::SeqCst);
        } else {
            page[word].fetch_and(!bit, Ordering::SeqCst);
        }
    }
}

fn place(user: UserId) -> Option<(usize, usize, u64)> {
    let index = usize::try_from(user.0).ok()?;
    let (page, rest) = (index / (PAGE_WORDS * 64), index % (PAGE_WORDS * 64));
    (page < PAGES).then_some((page, rest / 64, 1 << (rest % 64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_a_bit_of_its_own_however_large_the_id() {
        let online = Online::new();
        for id in [0, 63, 64, 65_535, 65_536, 1_000_000] {
            online.set(UserId(id), true);
        }
        assert!(online.get(UserId(65_536)) && !online.get(UserId(65_537)) && !online.get(UserId(62)));
        online.set(UserId(64), false);
        assert!(!online.get(UserId(64)) && online.get(UserId(63)));
        assert!(online.get(UserId(i64::MAX)) && online.get(UserId(-1)));
    }
}
