//! One bit a user: connected or not. A message to a group of thousands asks it of all members, 64 at a time, which must cost
//! next to nothing for those who are away.

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
        let (word, bit) = place(user);
        self.word(word) & bit != 0
    }

    pub fn set(&self, user: UserId, online: bool) {
        let (word, bit) = place(user);
        let Some(page) = self.0.get(word / PAGE_WORDS) else { return };
        let page = page.get_or_init(|| (0..PAGE_WORDS).map(|_| AtomicU64::new(0)).collect());
        let word = &page[word % PAGE_WORDS];
        if online {
            word.fetch_or(bit, Ordering::SeqCst);
        } else {
            word.fetch_and(!bit, Ordering::SeqCst);
        }
    }

    /// Places in `crowd` of those who are connected, in order.
    pub fn of<'c>(&'c self, crowd: &'c Crowd) -> impl Iterator<Item = usize> + 'c {
        crowd.0.iter().flat_map(|part| part.places(self.word(part.word)))
    }

    fn word(&self, word: usize) -> u64 {
        let Some(page) = self.0.get(word / PAGE_WORDS) else { return u64::MAX };
        page.get().map_or(0, |page| page[word % PAGE_WORDS].load(Ordering::SeqCst))
    }
}

/// The word and the bit of a user.
fn place(user: UserId) -> (usize, u64) {
    let id = user.0.cast_unsigned();
    (usize::try_from(id / 64).unwrap_or(usize::MAX), 1 << (id % 64))
}

/// Many users, in the shape in which [`Online`] knows them: those who are connected are found without a look at the others.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Crowd(Box<[Part]>);

/// Those of a crowd whose bits are in one word.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    word: usize,
    bits: u64,
    /// How many of the crowd come before them.
    before: u32,
}

impl Crowd {
    /// The users, who come in the order of their ids, each once. Their places are counted from 0.
    pub fn new(users: impl IntoIterator<Item = UserId>) -> Self {
        let mut parts: Vec<Part> = Vec::new();
        for (before, user) in (0..).zip(users) {
            let (word, bit) = place(user);
            match parts.last_mut() {
                Some(part) if part.word == word => part.bits |= bit,
                _ => parts.push(Part { word, bits: bit, before }),
            }
        }
        Self(parts.into())
    }
}

impl Part {
    /// Places of those whose bits are set in `online`.
    fn places(&self, online: u64) -> impl Iterator<Item = usize> {
        let (bits, before) = (self.bits, self.before);
        let mut rest = bits & online;
        std::iter::from_fn(move || {
            let bit = rest & rest.wrapping_neg();
            rest ^= bit;
            // Those of the word before this one, connected or not, have the places before its own.
            (bit != 0).then(|| (before + (bits & (bit - 1)).count_ones()) as usize)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first id that the bitmap has no bit for.
    const FAR: i64 = 1 << 28;

    #[test]
    fn each_user_has_a_bit_of_its_own_however_large_the_id() {
        let online = Online::new();
        for id in [0, 63, 64, 65_535, 65_536, 1_000_000] {
            online.set(UserId(id), true);
        }
        assert!(online.get(UserId(65_536)) && !online.get(UserId(65_537)) && !online.get(UserId(62)));
        online.set(UserId(64), false);
        assert!(!online.get(UserId(64)) && online.get(UserId(63)));
        assert!(!online.get(UserId(FAR - 1)) && online.get(UserId(FAR)));
        assert!(online.get(UserId(i64::MAX)) && online.get(UserId(-1)));
    }

    #[test]
    fn of_a_crowd_exactly_those_are_found_who_are_connected() {
        let ids = [0, 1, 62, 63, 64, 130, 191, 65_535, 65_536, 500_000, 500_001, FAR - 1, FAR, FAR + 7, i64::MAX];
        let crowd = Crowd::new(ids.map(UserId));
        let online = Online::new();
        let found = |online: &Online| online.of(&crowd).collect::<Vec<_>>();
        let far: Vec<_> = (12..ids.len()).collect();
        assert_eq!(found(&online), far, "for those beyond the bitmap the map decides");
        for stranger in [2, 65, 128, 65_537] {
            online.set(UserId(stranger), true);
        }
        assert_eq!(found(&online), far);
        for places in [vec![1, 3, 6, 8], vec![0, 2, 4, 5, 7, 9, 10, 11]] {
            for place in &places {
                online.set(UserId(ids[*place]), true);
            }
            assert_eq!(found(&online), [places.clone(), far.clone()].concat());
            for place in &places {
                online.set(UserId(ids[*place]), false);
            }
        }
        assert_eq!(online.of(&Crowd::new([])).count(), 0);
    }
}
