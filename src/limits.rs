//! How much each key may have: so many accepted calls in a window ([`SlidingLimit`]), and so much at a time ([`Shares`], or of a
//! bound for all together [`Budget`]); and how often the log may say the same ([`Seldom`]). In memory: a restart forgets them, several
//! nodes would share the first through Redis.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most keys counted at once; past it the ones whose window is over are dropped, then new keys are refused.
const KEYS_MAX: usize = 500_000;
/// How often they are looked for: it takes tens of milliseconds.
const SWEEP_EVERY_MS: i64 = 60_000;
/// How often the same trouble is told.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// Counts calls a key over the last `window_ms`.
#[derive(Debug)]
pub struct SlidingLimit<K> {
    calls: Mutex<Calls<K>>,
    window_ms: i64,
    calls_max: usize,
}

#[derive(Debug)]
struct Calls<K> {
    by_key: HashMap<K, VecDeque<i64>>,
    swept_at: Option<i64>,
}

impl<K> Default for Calls<K> {
    fn default() -> Self {
        Self { by_key: HashMap::new(), swept_at: None }
    }
}

impl<K: Hash + Eq + Clone> SlidingLimit<K> {
    /// At most `calls_max` calls in any `window_ms`.
    pub fn new(calls_max: usize, window_ms: i64) -> Self {
        Self { calls: Mutex::default(), window_ms, calls_max }
    }

    /// Counts a call, unless the key has used up its calls: then nothing is counted and the answer is false.
    pub fn take(&self, key: K, now_ms: i64) -> bool {
        let mut calls = self.lock();
        self.has_room_for(&mut calls, &key, now_ms) && self.add(&mut calls, key, now_ms)
    }

    /// Takes back the latest call of a key: it was refused in the end. One whose client went away counts.
    pub fn give_back(&self, key: &K) {
        let mut calls = self.lock();
        if let Some(at) = calls.by_key.get_mut(key) {
            at.pop_back();
            if at.is_empty() {
                calls.by_key.remove(key);
            }
        }
    }

    /// Counts what has already happened, even in a full table: there it replaces another key.
    pub fn count(&self, key: K, now_ms: i64) {
        let mut calls = self.lock();
        if !self.has_room_for(&mut calls, &key, now_ms)
            && let Some(other) = calls.by_key.keys().next().cloned()
        {
            calls.by_key.remove(&other);
        }
        self.add(&mut calls, key, now_ms);
    }

    /// Whether the key has used up its calls; counts nothing.
    pub fn is_used_up(&self, key: &K, now_ms: i64) -> bool {
        let calls = self.lock();
        let counted = |at: &VecDeque<i64>| at.iter().filter(|at| self.is_in_window(**at, now_ms)).count();
        calls.by_key.get(key).is_some_and(|at| counted(at) >= self.calls_max)
    }

    /// What lies ahead is not in the window either: the clock was set back, and would else hold it against the key until then.
    fn is_in_window(&self, at_ms: i64, now_ms: i64) -> bool {
        (0..self.window_ms).contains(&(now_ms - at_ms))
    }

    fn has_room_for(&self, calls: &mut Calls<K>, key: &K, now_ms: i64) -> bool {
        if calls.by_key.len() < KEYS_MAX || calls.by_key.contains_key(key) {
            return true;
        }
        if calls.swept_at.is_none_or(|at| !(0..SWEEP_EVERY_MS).contains(&(now_ms - at))) {
            calls.swept_at = Some(now_ms);
            calls.by_key.retain(|_, at| at.back().is_some_and(|last| self.is_in_window(*last, now_ms)));
        }
        calls.by_key.len() < KEYS_MAX
    }

    fn add(&self, calls: &mut Calls<K>, key: K, now_ms: i64) -> bool {
        let at = calls.by_key.entry(key).or_default();
        at.retain(|at| self.is_in_window(*at, now_ms));
        let free = at.len() < self.calls_max;
        if free {
            at.push_back(now_ms);
        }
        free
    }

    fn lock(&self) -> MutexGuard<'_, Calls<K>> {
        self.calls.lock().expect("no code panics while it holds this lock")
    }
}

/// For log lines that would come by the thousand: one a minute.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    /// Whether it is time to tell again.
    pub fn is_due(&self) -> bool {
        let mut told = self.0.lock().expect("no code panics while it holds this lock");
        let is_due = told.is_none_or(|at| at.elapsed() >= TELL_EVERY);
        if is_due {
            *told = Some(Instant::now());
        }
        is_due
    }
}

/// What each key has at the moment, of a bound that is the same for all.
#[derive(Clone, Debug)]
pub struct Shares<K: Hash + Eq> {
    held: Arc<DashMap<K, Arc<Semaphore>>>,
    max: usize,
}

/// What a key has, until it is dropped.
#[derive(Debug)]
pub struct Share<K: Hash + Eq> {
    held: Arc<DashMap<K, Arc<Semaphore>>>,
    key: K,
    permit: Option<OwnedSemaphorePermit>,
}

impl<K: Hash + Eq + Clone> Shares<K> {
    /// At most `max` for each key.
    pub fn new(max: usize) -> Self {
        Self { held: Arc::default(), max: max.min(u32::MAX as usize) }
    }

    /// So much more for the key, unless it would have too much then.
    pub fn take(&self, key: K, amount: usize) -> Option<Share<K>> {
        let (mut share, left) = self.of(key);
        share.permit = left.try_acquire_many_owned(u32::try_from(amount).ok()?).ok();
        share.permit.is_some().then_some(share)
    }

    /// Waits until the key may have so much more (all, if it is more than that), in the order of asking: where many share something
    /// in the order of asking, one key must not fill the queue.
    pub async fn turn(&self, key: K, amount: usize) -> Share<K> {
        let (mut share, left) = self.of(key);
        let amount = u32::try_from(amount.min(self.max)).unwrap_or(u32::MAX);
        share.permit = Some(left.acquire_many_owned(amount).await.expect("the semaphore is never closed"));
        share
    }

    /// A share of nothing yet, and what is left for its key.
    fn of(&self, key: K) -> (Share<K>, Arc<Semaphore>) {
        let left = self.held.entry(key.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.max))).clone();
        (Share { held: self.held.clone(), key, permit: None }, left)
    }
}

impl<K: Hash + Eq> Share<K> {
    /// Whose it is.
    pub const fn key(&self) -> &K {
        &self.key
    }

    /// With what `other` is, of the same key.
    fn merge(&mut self, mut other: Self) {
        if let (Some(permit), Some(more)) = (&mut self.permit, other.permit.take()) {
            permit.merge(more);
        }
    }
}

impl<K: Hash + Eq> Drop for Share<K> {
    fn drop(&mut self) {
        self.permit = None;
        // Nobody else has any of it or waits: permits, and those who wait for them, hold the semaphore as well.
        self.held.remove_if(&self.key, |_, left| Arc::strong_count(left) == 1);
    }
}

/// What all keys together have at the moment, of a bound, and each of them of one that is lower: nobody takes all.
#[derive(Clone, Debug)]
pub struct Budget<K: Hash + Eq> {
    left: Arc<Semaphore>,
    max: usize,
    by_key: Shares<K>,
}

/// A part of a budget, until it is dropped.
#[derive(Debug)]
pub struct Portion<K: Hash + Eq> {
    of_key: Option<Share<K>>,
    of_all: OwnedSemaphorePermit,
}

impl<K: Hash + Eq> Portion<K> {
    /// Becomes one with another portion of the same key.
    pub fn merge(&mut self, other: Self) {
        self.of_all.merge(other.of_all);
        if let (Some(share), Some(more)) = (&mut self.of_key, other.of_key) {
            share.merge(more);
        }
    }

    /// How much it is.
    pub fn amount(&self) -> usize {
        self.of_all.num_permits()
    }
}

impl<K: Hash + Eq + Clone> Budget<K> {
    /// At most `max` for all, and `by_key_max` of it for each key.
    pub fn new(max: usize, by_key_max: usize) -> Self {
        Self { left: Arc::new(Semaphore::new(max)), max, by_key: Shares::new(by_key_max.min(max)) }
    }

    /// So much more for the key, or for one that has no bound of its own, unless that is too much. Whoever wants more than a key may
    /// have takes what a key may have.
    pub fn take(&self, key: Option<K>, amount: usize) -> Option<Portion<K>> {
        let amount = amount.min(self.by_key.max);
        let of_key = match key {
            None => None,
            Some(key) => Some(self.by_key.take(key, amount)?),
        };
        let of_all = self.left.clone().try_acquire_many_owned(u32::try_from(amount).ok()?).ok()?;
        Some(Portion { of_key, of_all })
    }

    /// Waits for it: first for what the key may have, then for all, each in the order of asking.
    pub async fn turn(&self, key: Option<K>, amount: usize) -> Portion<K> {
        let amount = amount.min(self.by_key.max);
        let of_key = match key {
            None => None,
            Some(key) => Some(self.by_key.turn(key, amount).await),
        };
        let of_all = self.left.clone().acquire_many_owned(u32::try_from(amount).unwrap_or(u32::MAX));
        Portion { of_key, of_all: of_all.await.expect("the semaphore is never closed") }
    }

    /// How much all of them have.
    pub fn taken(&self) -> usize {
        self.max - self.left.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_window_slides_and_refused_calls_do_not_count() {
        let limit = SlidingLimit::new(2, 100);
        assert!(limit.take("a", 0) && limit.take("a", 60) && limit.take("b", 60));
        assert!(!limit.take("a", 99) && !limit.take("a", 99));
        assert!(limit.is_used_up(&"a", 99) && !limit.is_used_up(&"a", 100) && !limit.is_used_up(&"c", 99));
        assert!(limit.take("a", 100), "the first call has left the window, the refused ones never entered it");
        assert!(!limit.take("a", 159));
    }

    #[test]
    fn a_call_that_was_refused_in_the_end_is_taken_back() {
        let limit = SlidingLimit::new(1, 100);
        assert!(limit.take("a", 0) && !limit.take("a", 1), "it counts meanwhile");
        limit.give_back(&"a");
        assert!(limit.take("a", 2));
    }

    #[test]
    fn a_clock_that_was_set_back_holds_nothing_against_anybody() {
        let limit = SlidingLimit::new(2, 100);
        assert!(limit.take("a", 5000) && limit.take("a", 5000) && limit.is_used_up(&"a", 5099));
        assert!(!limit.is_used_up(&"a", 1000));
        assert!(limit.take("a", 1000) && limit.take("a", 1050) && !limit.take("a", 1099));
    }

    #[test]
    fn a_full_table_is_swept_once_a_minute_and_refuses_only_new_keys() {
        let limit = SlidingLimit::new(2, 100);
        assert!((0..KEYS_MAX).all(|key| limit.take(key, 0)));
        assert!(!limit.take(KEYS_MAX, 50), "all of them are in their window");
        assert!(limit.take(7, 60), "who is counted already is not concerned");
        assert!(!limit.take(KEYS_MAX, 1000), "a sweep was made a moment ago");
        assert!(limit.take(KEYS_MAX, 50 + SWEEP_EVERY_MS));
        assert_eq!(limit.lock().by_key.len(), 1);
    }

    #[test]
    fn a_share_is_bounded_and_comes_back() {
        let shares = Shares::new(3);
        let held = [shares.take("a", 1), shares.take("a", 2), shares.take("b", 3)];
        assert!(held.iter().all(Option::is_some) && shares.take("a", 1).is_none() && shares.take("c", 4).is_none());
        drop(held);
        assert!(shares.held.is_empty(), "nobody is remembered who has nothing");
    }

    #[test]
    fn one_key_leaves_room_for_others_until_all_is_taken() {
        let budget = Budget::new(40, 10);
        let mut held = vec![budget.take(Some(1), 6).unwrap(), budget.take(Some(1), 4).unwrap()];
        assert!(budget.take(Some(1), 1).is_none() && budget.turn(Some(1), 1).now_or_never().is_none());
        let more = held.pop().unwrap();
        held[0].merge(more);
        assert!(held[0].amount() == 10 && budget.take(Some(1), 1).is_none(), "one portion is as much as two");
        held.push(budget.take(Some(2), 99).expect("what is larger than a share takes one"));
        held.extend([budget.turn(Some(3), 99).now_or_never().unwrap(), budget.take(None, 9).unwrap()]);
        assert!(budget.take(Some(4), 2).is_none() && budget.take(None, 2).is_none(), "there is no more");
        let last = budget.turn(None, 1).now_or_never().unwrap();
        assert!(budget.taken() == 40 && budget.turn(None, 1).now_or_never().is_none());
        drop(last);
        assert!(budget.take(Some(4), 1).is_some(), "what was refused has left nothing behind");
        drop(held);
        assert!(budget.taken() == 0 && budget.by_key.held.is_empty());
    }

    #[test]
    fn the_same_trouble_is_told_once() {
        let seldom = Seldom::default();
        assert!(seldom.is_due() && !seldom.is_due());
    }

    #[tokio::test]
    async fn turns_come_in_the_order_of_asking() {
        let shares = Shares::new(2);
        let first = shares.turn("a", 9).await;
        let mut second = std::pin::pin!(shares.turn("a", 2));
        assert!((&mut second).now_or_never().is_none());
        let mut gone = Box::pin(shares.turn("a", 2));
        assert!((&mut gone).now_or_never().is_none());
        let mut third = std::pin::pin!(shares.turn("a", 1));
        assert!((&mut third).now_or_never().is_none() && shares.turn("b", 2).now_or_never().is_some());
        drop((first, gone));
        assert!((&mut third).now_or_never().is_none(), "the second was here before");
        drop(second.await);
        drop(third.await);
        assert!(shares.held.is_empty(), "not even for those who waited in vain");
    }

    #[test]
    fn what_has_happened_is_counted_even_in_a_full_table() {
        let limit = SlidingLimit::new(1, 100);
        assert!((0..KEYS_MAX).all(|key| limit.take(key, 0)));
        limit.count(KEYS_MAX, 50);
        assert!(limit.is_used_up(&KEYS_MAX, 60) && limit.lock().by_key.len() == KEYS_MAX);
    }
}
