//! argon2id beside the chat and not in its way: hashes run on threads of low priority, in memory that goes back to the system
//! when none is wanted any more.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, oneshot};
use tracing::debug;

use crate::error::{AppError, Result};
use crate::os;

/// The nice value of hashing threads. On a core that chat keeps busy they still get a tenth.
const NICE: i32 = 10;
/// The slice of the core that hashing threads ask for: since Linux 6.12 whatever wakes with a shorter one (3 ms and less, where nobody
/// asks) takes the core from them at once. With equal slices it waits for a tick or for several, whatever its priority. The longer it
/// is, the longer they wait in turn where others keep the cores.
const SLICE: Duration = Duration::from_millis(10);
/// A thread rests so long after each hash where the system knows no slices: the chat's p99 beside logins is 30 ms without.
const REST: Duration = Duration::from_micros(300);
/// How long a thread, and its memory, waits for another hash.
const IDLE_MAX: Duration = Duration::from_millis(100);

/// Working memory of one hash.
#[derive(Debug, Default)]
pub struct Memory(Vec<Block>);

impl Memory {
    fn blocks(&mut self, count: usize) -> &mut [Block] {
        if self.0.len() < count {
            self.0 = vec![Block::new(); count];
        }
        &mut self.0[..count]
    }
}

/// The PHC string of a password under a new salt.
pub fn hash(params: &Params, password: &[u8], memory: &mut Memory) -> Result<String> {
    let salt = Salt::generate();
    let hash = PasswordHash {
        algorithm: ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(params).map_err(AppError::internal)?,
        salt: Some(salt),
        hash: Some(output(params, Version::V0x13, password, &salt, memory).map_err(AppError::internal)?),
    };
    Ok(hash.to_string())
}

/// Whether `password` is that of the PHC string `stored`, whose own parameters count.
pub fn verify(stored: &str, password: &[u8], memory: &mut Memory) -> bool {
    let Ok(stored) = PasswordHash::new(stored) else { return false };
    let (Some(salt), Some(expected), true) = (stored.salt, stored.hash, stored.algorithm == ARGON2ID_IDENT) else {
        return false;
    };
    let version = stored.version.map_or(Ok(Version::default()), Version::try_from);
    let (Ok(params), Ok(version)) = (Params::try_from(&stored), version) else { return false };
    // `Output` compares in constant time.
    output(&params, version, password, &salt, memory).is_ok_and(|found| found == expected)
}

fn output(
    params: &Params,
    version: Version,
    password: &[u8],
    salt: &[u8],
    memory: &mut Memory,
) -> argon2::Result<Output> {
    let mut output = [0; Output::MAX_LENGTH];
    let length = params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
    let output = output.get_mut(..length).ok_or(argon2::Error::OutputTooLong)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, version, params.clone());
    argon2.hash_password_into_with_memory(password, salt, output, memory.blocks(params.block_count()))?;
    Output::new(output).map_err(|_| argon2::Error::OutputTooLong)
}

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
    static GIVES_WAY: Cell<bool> = const { Cell::new(false) };
}

/// Threads for hashes, a bounded number at a time.
#[derive(Debug)]
pub struct Threads {
    slots: Arc<Semaphore>,
    /// Of its own, since a priority once lowered cannot be raised again. It is there until the drop.
    pool: Option<Runtime>,
}

impl Threads {
    /// So many at once.
    pub fn new(parallel_max: usize) -> Result<Self> {
        let pool = Builder::new_current_thread()
            .max_blocking_threads(parallel_max)
            .thread_keep_alive(IDLE_MAX)
            .thread_name("password")
            .on_thread_start(|| {
                if let Err(cause) = os::lower_priority(NICE) {
                    debug!(%cause, "hashes run with the priority of everything else");
                }
                match os::lengthen_slices(SLICE) {
                    Ok(gives_way) => GIVES_WAY.set(gives_way),
                    // A sandbox may know the one call and not the other.
                    Err(cause) => debug!(%cause, "hashes run in slices as short as those of everything else"),
                }
            })
            .build()
            .map_err(AppError::internal)?;
        Ok(Self { slots: Arc::new(Semaphore::new(parallel_max)), pool: Some(pool) })
    }

    /// Runs `work` when its turn has come, if `admit` then agrees.
    pub async fn run<T: Send + 'static>(
        &self,
        admit: impl FnOnce() -> Result<()>,
        work: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Result<T> {
        let slot = self.slots.clone().acquire_owned().await.map_err(AppError::internal)?;
        admit()?;
        let (reply, done) = oneshot::channel();
        let pool = self.pool.as_ref().expect("it is there until the drop");
        pool.spawn_blocking(move || {
            // Nobody waits for it if the client has gone.
            let _ = reply.send(MEMORY.with_borrow_mut(work));
            // The next one comes while this thread rests.
            drop(slot);
            if !GIVES_WAY.get() {
                sleep(REST);
            }
        });
        done.await.map_err(AppError::internal)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            // To wait for its threads is not allowed where tasks run.
            pool.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_of_other_programs_verify_by_their_own_parameters() {
        // echo -n password | argon2 somesalt -id -t 2 -k 65536 -p 1 (the reference implementation's own test vector)
        let known = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        let mut memory = Memory::default();
        assert!(verify(known, b"password", &mut memory));
        assert!(!verify(known, b"Password", &mut memory));
    }

    #[test]
    fn a_hash_longer_than_ours_verifies() {
        let (params, salt) = (Params::new(8, 1, 1, Some(64)).unwrap(), Salt::generate());
        let mut expected = [0; 64];
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        argon2.hash_password_into(b"secret", &salt, &mut expected).unwrap();
        let stored = PasswordHash {
            algorithm: ARGON2ID_IDENT,
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&params).unwrap(),
            salt: Some(salt),
            hash: Some(Output::new(&expected).unwrap()),
        };
        assert!(verify(&stored.to_string(), b"secret", &mut Memory::default()));
    }

    #[test]
    fn a_hash_verifies_in_memory_that_others_have_used() {
        let (small, large) = (Params::new(8, 1, 1, None).unwrap(), Params::new(64, 2, 1, None).unwrap());
        let mut memory = Memory::default();
        let hashes = [&large, &small, &large].map(|params| hash(params, b"secret", &mut memory).unwrap());
        for stored in &hashes {
            assert!(verify(stored, b"secret", &mut memory) && verify(stored, b"secret", &mut Memory::default()));
            assert!(!verify(stored, b"secret ", &mut memory));
        }
        assert_ne!(hashes[0], hashes[2], "each has its own salt");
    }

    #[test]
    fn what_is_no_argon2id_string_verifies_nothing() {
        let memory = &mut Memory::default();
        for stored in
            ["", "secret", "$argon2id$v=19$m=8,t=1,p=1$c29tc2FsdA", "$argon2d$v=19$m=8,t=1,p=1$c29tc2FsdA$AAAA"]
        {
            assert!(!verify(stored, b"secret", memory));
        }
    }

    #[tokio::test]
    async fn memory_is_kept_for_the_next_hash_and_not_for_long() {
        thread_local! {
            static HELD: RefCell<Option<Arc<()>>> = RefCell::default();
        }
        let threads = Threads::new(1).unwrap();
        let held = Arc::new(());
        let mine = held.clone();
        let first = threads.run(
            || Ok(()),
            move |memory| {
                HELD.set(Some(mine));
                memory.blocks(8).len()
            },
        );
        assert_eq!(first.await.unwrap(), 8);
        assert_eq!(threads.run(|| Ok(()), |memory| memory.0.len()).await.unwrap(), 8);
        for _ in 0..5000 {
            // What belongs to the thread goes with it.
            if Arc::strong_count(&held) == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("the thread of the last hash is still there");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn hashing_threads_claim_less_of_a_core_than_others() {
        let ours = uapi::sched_getattr(0, 0).unwrap();
        let threads = Threads::new(1).unwrap();
        let (theirs, gives_way) =
            threads.run(|| Ok(()), |_| (uapi::sched_getattr(0, 0).unwrap(), GIVES_WAY.get())).await.unwrap();
        assert_eq!(theirs.sched_nice, (ours.sched_nice + NICE).min(19));
        assert_eq!(gives_way, Duration::from_nanos(theirs.sched_runtime) == SLICE);
        // Where the system knows slices, it says how long ours is.
        assert_eq!(gives_way, ours.sched_runtime > 0);
    }

    #[tokio::test]
    async fn a_hash_that_panics_leaves_its_place_to_the_next() {
        let threads = Threads::new(1).unwrap();
        assert!(threads.run(|| Ok(()), |_| panic!("on purpose")).await.is_err());
        assert_eq!(threads.run(|| Ok(()), |_| 7).await.unwrap(), 7);
    }
}
