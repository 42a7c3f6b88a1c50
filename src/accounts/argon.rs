//! argon2id beside the chat and not in its way: each hash runs on a thread of low priority, in memory that goes back to the
//! system when no hash runs.

use std::sync::{Arc, Mutex};

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version};
use rustix::process::nice;
use tokio::sync::{Semaphore, oneshot};
use tracing::debug;

use crate::error::{AppError, Result};

/// How much nicer than the rest of the server a hash is. It still gets a tenth of a core that chat would take whole.
const NICE: i32 = 10;

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

/// Threads for hashes, a bounded number at a time.
#[derive(Clone, Debug)]
pub struct Threads {
    slots: Arc<Semaphore>,
    /// Memory of hashes that have ended while others wait: they need not ask the system for it.
    spare: Arc<Mutex<Vec<Memory>>>,
}

impl Threads {
    /// So many at once.
    pub fn new(parallel_max: usize) -> Self {
        Self { slots: Arc::new(Semaphore::new(parallel_max)), spare: Arc::default() }
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
        let own = self.clone();
        // A thread of its own: a priority once lowered cannot be raised again, and a thread costs little beside a hash.
        let thread = std::thread::Builder::new().name("password".to_owned()).spawn(move || {
            if let Err(cause) = nice(NICE) {
                debug!(%cause, "a hash runs with the priority of everything else");
            }
            let mut memory = own.spare().pop().unwrap_or_default();
            // Nobody waits for it if the client has gone.
            let _ = reply.send(work(&mut memory));
            own.spare().push(memory);
            drop(slot);
            if own.slots.available_permits() > 0 {
                own.spare().clear();
            }
        });
        thread.map_err(AppError::internal)?;
        done.await.map_err(AppError::internal)
    }

    fn spare(&self) -> std::sync::MutexGuard<'_, Vec<Memory>> {
        self.spare.lock().expect("no code panics while it holds this lock")
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
    async fn memory_is_kept_while_hashes_wait_and_no_longer() {
        let threads = Threads::new(1);
        let used = |memory: &mut Memory| {
            let first = memory.0.is_empty();
            memory.blocks(8);
            first
        };
        let (queued, wait) = std::sync::mpsc::channel();
        let held = move |memory: &mut Memory| {
            wait.recv().unwrap();
            used(memory)
        };
        let all = tokio::join!(threads.run(|| Ok(()), held), threads.run(|| Ok(()), used), async { queued.send(()) });
        assert_eq!((all.0.unwrap(), all.1.unwrap(), all.2), (true, false, Ok(())));
        for _ in 0..1000 {
            if threads.slots.available_permits() == 1 && threads.spare().is_empty() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        panic!("the memory of the last hash is still there");
    }

    #[tokio::test]
    async fn a_hash_that_panics_leaves_its_place_to_the_next() {
        let threads = Threads::new(1);
        assert!(threads.run(|| Ok(()), |_| panic!("on purpose")).await.is_err());
        assert_eq!(threads.run(|| Ok(()), |_| 7).await.unwrap(), 7);
    }
}
