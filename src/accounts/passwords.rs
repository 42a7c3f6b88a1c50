//! Passwords: argon2id, a bounded number at a time; and the old backend's unsalted SHA-256.

use argon2::Params;
use sha2::{Digest, Sha256};

use super::argon::{self, Threads};
use crate::config;
use crate::error::{AppError, Result};

/// Hashes and checks passwords.
#[derive(Debug)]
pub struct Passwords {
    params: Params,
    threads: Threads,
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
            threads: Threads::new(parallel)?,
        })
    }

    /// The hash to store, in PHC form.
    pub async fn hash(&self, password: &str) -> Result<String> {
        let (params, password) = (self.params.clone(), password.to_owned());
        self.threads.run(|| Ok(()), move |memory| argon::hash(&params, password.as_bytes(), memory)).await?
    }

    /// Compares `password` with a stored hash of either scheme, if `admit` still agrees when its turn has come. Calls `wrong` if
    /// the password is wrong, even if nobody waits for the verdict any more.
    pub async fn verify(
        &self,
        password: &str,
        stored: &str,
        admit: impl FnOnce() -> Result<()>,
        wrong: impl FnOnce() + Send + 'static,
    ) -> Result<Verdict> {
        if is_legacy(stored) {
            admit()?;
            if legacy(password).eq_ignore_ascii_case(stored) {
                return Ok(Verdict::RightButOld);
            }
            wrong();
            return Ok(Verdict::Wrong);
        }
        let (password, stored) = (password.to_owned(), stored.to_owned());
        let check = move |memory: &mut argon::Memory| {
            if argon::verify(&stored, password.as_bytes(), memory) {
                return Verdict::Right;
            }
            wrong();
            Verdict::Wrong
        };
        self.threads.run(admit, check).await
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
