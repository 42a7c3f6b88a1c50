//! Caches that are bounded by the weight of what they hold, and what drops an entry after a change.

use std::hash::Hash;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

/// Parts of a cache, each with a lock and an equal portion of the weight. What is heavier than such a portion is never kept, so
/// their number may not grow with the cores, as it does by `quick_cache`'s default: large groups would be loaded for every message
/// on large machines.
const SHARDS: usize = 8;

/// An empty cache of some `entries`, which together weigh no more than `weight_max`.
pub fn weighted<K, V, W>(entries: usize, weight_max: u64, weighter: W) -> Cache<K, V, W>
where
    K: Eq + Hash,
    V: Clone,
    W: Weighter<K, V> + Clone,
{
    let mut options = OptionsBuilder::new();
    options.shards(SHARDS).estimated_items_capacity(entries).weight_capacity(weight_max);
    let options = options.build().expect("both capacities are set");
    Cache::with_options(options, weighter, DefaultHashBuilder::default(), DefaultLifecycle::default())
}

/// Drops what is kept of a row when it is dropped itself: after a change, and after one whose outcome nobody knows. To be made
/// before the transaction, so that it ends after it.
pub struct Outdated<F: Fn()>(F);

impl<F: Fn()> Outdated<F> {
    /// Calls `forget` in the end.
    pub const fn from_now(forget: F) -> Self {
        Self(forget)
    }
}

impl<F: Fn()> Drop for Outdated<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// How full a cache is.
#[derive(Clone, Copy, Debug)]
pub struct Fill {
    /// Value of the label `cache`.
    pub cache: &'static str,
    /// What it holds.
    pub entries: usize,
    /// What that weighs, in the cache's own measure: entries, members or bytes.
    pub weight: u64,
    /// What it may weigh.
    pub weight_max: u64,
}

impl Fill {
    /// Looks at a cache.
    pub fn of<K, V, W>(name: &'static str, cache: &Cache<K, V, W>) -> Self
    where
        K: Eq + Hash,
        V: Clone,
        W: Weighter<K, V> + Clone,
    {
        Self { cache: name, entries: cache.len(), weight: cache.weight(), weight_max: cache.capacity() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone)]
    struct Itself;

    impl Weighter<u64, u64> for Itself {
        fn weight(&self, _: &u64, weight: &u64) -> u64 {
            *weight
        }
    }

    #[test]
    fn what_a_cache_keeps_does_not_depend_on_the_cores() {
        let cache = weighted(1000, 8000, Itself);
        assert_eq!((cache.num_shards(), cache.capacity()), (SHARDS, 8000));
        for (key, weight) in [(1, 900), (2, 1001)] {
            cache.insert(key, weight);
        }
        assert_eq!((cache.get(&1), cache.get(&2)), (Some(900), None));
    }
}
