//! The one error type. A service says *what was refused*; `http::envelope` alone turns it into a reply.
//!
//! The client gets a sentence that it can show; the cause stays in the log.

use std::borrow::Cow;

/// Shorthand for a fallible call of this crate.
pub type Result<T, E = AppError> = std::result::Result<T, E>;

/// Any cause, kept for the log.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a request, a start or a background step failed.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A rule said no: HTTP 400 with this text (contract: people §1).
    #[error("{0}")]
    Refused(Cow<'static, str>),
    /// A parameter is missing or out of its bounds: HTTP 422 with the first message (contract: people §1.1).
    #[error("{0}")]
    Invalid(String),
    /// No such route: HTTP 404.
    #[error("404 错误")]
    NotFound,
    /// The route exists, the method does not: HTTP 405.
    #[error("请求方法不允许")]
    MethodNotAllowed,
    /// The body is larger than its bound: HTTP 413.
    #[error("{0}")]
    TooLarge(Cow<'static, str>),
    /// The store is away, or the server is overloaded or draining: HTTP 503. Nothing was acknowledged.
    #[error("服务繁忙，请稍后再试")]
    Busy(#[source] Option<BoxError>),
    /// A bug or a broken machine: HTTP 500. The source goes to the log only.
    #[error("服务器内部错误")]
    Internal(#[source] BoxError),
}

impl AppError {
    /// A refusal with a fixed text of the contract.
    pub const fn refused(text: &'static str) -> Self {
        Self::Refused(Cow::Borrowed(text))
    }

    /// A failure that the client cannot mend; `cause` is logged.
    pub fn internal(cause: impl Into<BoxError>) -> Self {
        Self::Internal(cause.into())
    }

    /// The store or a queue cannot take more at the moment.
    pub const fn busy() -> Self {
        Self::Busy(None)
    }

    /// What the log needs to know: the cause, where the text is only what the client may hear.
    pub fn for_log(&self) -> String {
        use std::error::Error;
        self.source().map_or_else(|| self.to_string(), ToString::to_string)
    }

    /// The store is away; `cause` is logged.
    pub fn unavailable(cause: impl Into<BoxError>) -> Self {
        Self::Busy(Some(cause.into()))
    }
}
