//! A username and a password, as the calls that register or log in take them.

use crate::error::{AppError, Result};
use crate::http::{Draft, Fields};

/// A username and a password.
#[derive(Debug)]
pub struct Credentials {
    /// 4-20 characters.
    pub username: String,
    /// 6-20 characters.
    pub password: String,
}

impl Draft for Credentials {
    fn read(fields: &Fields) -> Result<Self> {
        Ok(Self {
            username: fields.string("username", "账号", 4, 20)?,
            password: fields.string("password", "密码", 6, 20)?,
        })
    }
}

/// The same for a new account, whose name is of letters, digits and underscores; imported names are left alone (decision 16).
#[derive(Debug)]
pub struct NewCredentials(pub Credentials);

impl Draft for NewCredentials {
    fn read(fields: &Fields) -> Result<Self> {
        let username = fields.string("username", "账号", 4, 20)?;
        // Asked for before the name is refused, so that the description knows of it.
        let password = fields.string("password", "密码", 6, 20);
        if !username.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(AppError::Invalid("账号 只能由字母、数字和下划线组成".to_owned()));
        }
        Ok(Self(Credentials { username, password: password? }))
    }
}
