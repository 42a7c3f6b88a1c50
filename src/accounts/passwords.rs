//! Passwords: argon2id, off the async threads, a bounded number at a time; and the old backend's unsalted SHA-256.

use std::sync::{Arc, Mutex};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::config;
use crate::error::{AppError, Result};

/// Hashes and checks passwords.
#[derive(Debug)]
pub struct Passwords {
    params: Params,
    slots: Arc<Semaphore>,
    /// A hash of nothing anyone knows: checked when the username is unknown, so that the time tells nothing.
    decoy: Mutex<Option<String>>,
}

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The password is right.
    Right,
    /// The password is right, and its hash is of the old scheme: replace it.
    RightButOld,
    /// The password is wrong.
    Wrong,
}

impl Passwords {
    /// Settings from the configuration.
    pub fn new(config: &config::Passwords) -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let parallel = if config.parallel_max == 0 { cores } else { config.parallel_max };
        Ok(Self {
            params: Params::new(config.memory_kib, config.iterations, 1, None).map_err(AppError::internal)?,
            slots: Arc::new(Semaphore::new(parallel)),
            decoy: Mutex::new(None),
        })
    }

    /// The hash to store, in PHC form.
    pub async fn hash(&self, password: &str) -> Result<String> {
        let (argon2, password) = (self.argon2(), password.to_owned());
        self.run(|| Ok(()), move || argon2.hash_password(password.as_bytes()).map(|hash| hash.to_string()))
            .await?
            .map_err(AppError::internal)
    }

    /// Compares `password` with a stored hash of either scheme, if `admit` still agrees when its turn has come.
    pub async fn verify(&self, password: &str, stored: &str, admit: impl FnOnce() -> Result<()>) -> Result<Verdict> {
        if is_legacy(stored) {
            admit()?;
            return Ok(if legacy(password) == stored { Verdict::RightButOld } else { Verdict::Wrong });
        }
        let (argon2, password, stored) = (self.argon2(), password.to_owned(), stored.to_owned());
        let right = self
            .run(admit, move || {
                PasswordHash::new(&stored).is_ok_and(|hash| argon2.verify_password(password.as_bytes(), &hash).is_ok())
            })
            .await?;
        Ok(if right { Verdict::Right } else { Verdict::Wrong })
    }

    /// Takes as long as a check would, for usernames that do not exist.
    pub async fn verify_nobody(&self, password: &str, admit: impl FnOnce() -> Result<()>) -> Result<()> {
        let known = self.decoy.lock().expect("no code panics while it holds this lock").clone();
        let decoy = if let Some(decoy) = known {
            decoy
        } else {
            let made = self.hash(&crate::ids::uuid()).await?;
            self.decoy.lock().expect("no code panics while it holds this lock").get_or_insert(made).clone()
        };
        self.verify(password, &decoy, admit).await.map(|_| ())
    }

    fn argon2(&self) -> Argon2<'static> {
        Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone())
    }

    async fn run<T: Send + 'static>(
        &self,
        admit: impl FnOnce() -> Result<()>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let slot = self.slots.clone().acquire_owned().await.map_err(AppError::internal)?;
        admit()?;
        let done = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            work()
        });
        done.await.map_err(AppError::internal)
    }
}

/// Whether a stored hash is the old backend's: 64 hex digits (contract: people §1.4).
fn is_legacy(stored: &str) -> bool {
    stored.len() == 64 && stored.bytes().all(|b| b.is_ascii_hexdigit())
}

fn legacy(password: &str) -> String {
    hex(&Sha256::digest(password.as_bytes()))
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_old_scheme_is_recognised_by_its_vector() {
        let hash = super::legacy("123456");
        assert_eq!(hash, "8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92");
        assert!(super::is_legacy(&hash) && !super::is_legacy("$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA"));
    }
}
