//! The one error of the load program: a sentence that says what went wrong and where.

use std::fmt::{self, Display};

/// Why a row could not be measured.
pub struct Failure(String);

impl Failure {
    /// Makes a failure from its sentence.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Puts "what was being done" before the cause of an error.
pub trait While<T> {
    /// `what` reads on from "while", as in "opening the socket".
    fn doing(self, what: impl Display) -> Result<T, Failure>;
}

impl<T, E: Display> While<T> for Result<T, E> {
    fn doing(self, what: impl Display) -> Result<T, Failure> {
        self.map_err(|cause| Failure(format!("{what}: {cause}")))
    }
}

impl<T> While<T> for Option<T> {
    fn doing(self, what: impl Display) -> Result<T, Failure> {
        self.ok_or_else(|| Failure(format!("{what}: not there")))
    }
}
