//! Sliding limits: so many accepted calls a key and window. In memory: a restart forgets them, several nodes would share
//! them through Redis.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard};

/// Most keys counted at once; past it the ones whose window is over are dropped, then new keys are refused.
const KEYS_MAX: usize = 500_000;
/// How often they are looked for: it takes tens of milliseconds.
const SWEEP_EVERY_MS: i64 = 60_000;

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

impl<K: Hash + Eq> SlidingLimit<K> {
    /// At most `calls_max` calls in any `window_ms`.
    pub fn new(calls_max: usize, window_ms: i64) -> Self {
        Self { calls: Mutex::default(), window_ms, calls_max }
    }

    /// Counts a call, unless the key has used up its calls: then nothing is counted and the answer is false.
    pub fn take(&self, key: K, now_ms: i64) -> bool {
        let mut calls = self.lock();
        if calls.by_key.len() >= KEYS_MAX && !calls.by_key.contains_key(&key) {
            if calls.swept_at.is_none_or(|at| now_ms - at >= SWEEP_EVERY_MS) {
                calls.swept_at = Some(now_ms);
                calls.by_key.retain(|_, at| at.back().is_some_and(|last| now_ms - last < self.window_ms));
            }
            if calls.by_key.len() >= KEYS_MAX {
                return false;
            }
        }
        let at = calls.by_key.entry(key).or_default();
        while at.front().is_some_and(|first| now_ms - first >= self.window_ms) {
            at.pop_front();
        }
        let free = at.len() < self.calls_max;
        if free {
            at.push_back(now_ms);
        }
        free
    }

    /// Whether the key has used up its calls; counts nothing.
    pub fn is_used_up(&self, key: &K, now_ms: i64) -> bool {
        let calls = self.lock();
        let in_window = |at: &VecDeque<i64>| at.iter().filter(|at| now_ms - **at < self.window_ms).count();
        calls.by_key.get(key).is_some_and(|at| in_window(at) >= self.calls_max)
    }

    /// Takes back the latest call of a key: it turned out not to count.
    pub fn give_back(&self, key: &K) {
        let mut calls = self.lock();
        if let Some(at) = calls.by_key.get_mut(key) {
            at.pop_back();
            if at.is_empty() {
                calls.by_key.remove(key);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Calls<K>> {
        self.calls.lock().expect("no code panics while it holds this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_slides_and_refused_calls_do_not_count() {
        let limit = SlidingLimit::new(2, 100);
        assert!(limit.take("a", 0) && limit.take("a", 60) && limit.take("b", 60));
        assert!(!limit.take("a", 99) && !limit.take("a", 99));
        assert!(limit.is_used_up(&"a", 99) && !limit.is_used_up(&"a", 100) && !limit.is_used_up(&"c", 99));
        assert!(limit.take("a", 100), "the first call has left the window, the refused ones never entered it");
        assert!(!limit.take("a", 159));
        limit.give_back(&"a");
        assert!(limit.take("a", 159));
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
}
