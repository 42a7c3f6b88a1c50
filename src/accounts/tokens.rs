//! Tokens: HS256 JWTs with the claims of decision 10, signed with the owner's secret.
//!
//! jsonwebtoken brings no cryptography of its own choice that fits: its `rust_crypto` backend pulls in the unused `rsa`
//! crate with an open advisory, its `aws_lc_rs` backend a second C library. HS256 alone is these few lines over `hmac`.

use std::sync::Once;

use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result as JwtResult};
use jsonwebtoken::signature::{Error as SignatureError, Signer, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::model::Role;
use crate::error::{AppError, Result};
use crate::ids::UserId;

/// What a token says. Times are epoch seconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// Whose token it is.
    pub id: UserId,
    /// The user's public id.
    pub uuid: String,
    /// The name at the time of issue.
    pub username: String,
    /// How the bearer may act: a registered user in guest mode holds a visitor's token.
    pub role: Role,
    /// Identifies the token: it is live while `sessions` names it.
    pub jti: String,
    /// Issued at.
    pub iat: i64,
    /// Expires at.
    pub exp: i64,
}

/// Signs and checks tokens.
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

impl Tokens {
    /// Keys made from `secret`.
    pub fn new(secret: &str) -> Self {
        static INSTALL: Once = Once::new();
        INSTALL.call_once(|| {
            PROVIDER.install_default().expect("nothing else installs a JWT provider");
        });
        let mut validation = Validation::new(Algorithm::HS256);
        // Expiry is checked against the injected clock, by the caller.
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        Self {
            encoding: EncodingKey::from_secret(secret.as_bytes()),
            decoding: DecodingKey::from_secret(secret.as_bytes()),
            validation,
        }
    }

    /// The token that says `claims`; the same claims give the same token.
    pub fn sign(&self, claims: &Claims) -> Result<String> {
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &self.encoding).map_err(AppError::internal)
    }

    /// The claims of a token that carries our signature and has not expired at `now_ms`.
    pub fn verify(&self, token: &str, now_ms: i64) -> Option<Claims> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation).ok()?.claims;
        (claims.exp > now_ms / 1000).then_some(claims)
    }
}

static PROVIDER: CryptoProvider =
    CryptoProvider { signer_factory: signer, verifier_factory: verifier, key_utils: KeyUtils::new_unimplemented() };

struct Hs256(Hmac<Sha256>);

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that jsonwebtoken asks for")]
fn signer(algorithm: &Algorithm, key: &EncodingKey) -> JwtResult<Box<dyn JwtSigner>> {
    Ok(Box::new(Hs256::new(*algorithm, key.as_bytes())?))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that jsonwebtoken asks for")]
fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> JwtResult<Box<dyn JwtVerifier>> {
    Ok(Box::new(Hs256::new(*algorithm, key.try_get_as_bytes()?)?))
}

impl Hs256 {
    fn new(algorithm: Algorithm, secret: &[u8]) -> JwtResult<Self> {
        if algorithm != Algorithm::HS256 {
            return Err(ErrorKind::InvalidAlgorithm.into());
        }
        Hmac::new_from_slice(secret).map(Self).map_err(|_| ErrorKind::InvalidKeyFormat.into())
    }

    fn over(&self, message: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(message);
        mac
    }
}

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, SignatureError> {
        Ok(self.over(message).finalize().into_bytes().to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), SignatureError> {
        self.over(message).verify_slice(signature).map_err(SignatureError::from_source)
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        let role = Role::User;
        Claims { id: UserId(6), uuid: "u".into(), username: "my01".into(), role, jti: "j".into(), iat: 1, exp: 100 }
    }

    #[test]
    fn a_token_is_ours_until_it_expires() {
        let tokens = Tokens::new("a secret of the owner's");
        let token = tokens.sign(&claims()).unwrap();
        assert_eq!(tokens.sign(&claims()).unwrap(), token);
        assert_eq!(tokens.verify(&token, 99_999).unwrap().id, UserId(6));
        assert!(tokens.verify(&token, 100_000).is_none());
        assert!(Tokens::new("another secret").verify(&token, 0).is_none());
    }

    #[test]
    fn other_algorithms_and_garbage_are_refused() {
        let tokens = Tokens::new("a secret of the owner's");
        let token = tokens.sign(&claims()).unwrap();
        let body = token.split('.').nth(1).unwrap();
        // {"alg":"none"} and {"alg":"HS512"}
        for header in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJIUzUxMiJ9"] {
            assert!(tokens.verify(&format!("{header}.{body}."), 0).is_none());
        }
        for garbage in ["", ".", "a.b.c", "undefined", &token[..token.len() - 2]] {
            assert!(tokens.verify(garbage, 0).is_none(), "{garbage}");
        }
    }
}
