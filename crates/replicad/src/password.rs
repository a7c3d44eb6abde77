//! The password of clients: kept as a hash, compared in constant time, never shown.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use bytes::Bytes;
use std::fmt;
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;

/// Bytes of a password. What is longer is a mistake, and would only cost time.
const MAX_PASSWORD_BYTES: usize = 1024;
/// Memory that one check of a password may take, in KiB.
const MAX_MEMORY_KIB: u32 = 256 * 1024;
/// Passes over that memory.
const MAX_PASSES: u32 = 64;
/// Checks at a time. Each takes a core and tens of megabytes for some hundredth of a second, and clients
/// that guess must not take the machine from those that have been let in.
const CHECKS_AT_A_TIME: usize = 1;

/// The password that clients have to name, known by its hash.
///
/// The hash is slow to compute, which is what makes guessing slow. A client that has named the right
/// password is remembered for the life of the process by a second hash of it that is quick to compute and has a
/// random salt of its own, so that thousands of connections that come back do not wait for one another.
///
/// Its `Debug` form shows nothing of either.
#[derive(Clone)]
pub struct Password {
    inner: Arc<Inner>,
}

struct Inner {
    hash: PasswordHash,
    quick: OnceLock<PasswordHash>,
    turn: Semaphore,
}

/// A password or a hash that cannot be used. Says nothing of what it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// The text is not a hash of a password.
    #[error(
        "the password's hash is not of the form `$argon2id$...`; `replicad password` makes one from a \
         password"
    )]
    NotAHash,
    /// The hash names a cost above the limits.
    #[error(
        "the password's hash costs {memory_kib} KiB and {passes} passes for each client, the limits are \
         {MAX_MEMORY_KIB} KiB and {MAX_PASSES} passes"
    )]
    TooCostly {
        /// Memory that each check takes.
        memory_kib: u32,
        /// Passes over it.
        passes: u32,
    },
    /// There is no password.
    #[error("the password is empty")]
    Empty,
    /// The password is too long.
    #[error("the password has {bytes} bytes, the limit is {MAX_PASSWORD_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The system gave no random salt, or no memory.
    #[error("cannot hash the password: {0}")]
    System(String),
}

impl Password {
    /// The password of this hash, as [`hash`] makes it.
    ///
    /// # Errors
    /// If the text is not such a hash, or checking it would cost too much.
    pub fn from_hash(text: &str) -> Result<Self, PasswordError> {
        let hash = PasswordHash::new(text.trim()).map_err(|_| PasswordError::NotAHash)?;
        let known = Algorithm::try_from(hash.algorithm.as_str()).is_ok();
        let params = Params::try_from(&hash).map_err(|_| PasswordError::NotAHash)?;
        if !known || hash.salt.is_none() || hash.hash.is_none() {
            return Err(PasswordError::NotAHash);
        }
        let (memory_kib, passes) = (params.m_cost(), params.t_cost());
        if memory_kib > MAX_MEMORY_KIB || passes > MAX_PASSES {
            return Err(PasswordError::TooCostly { memory_kib, passes });
        }
        let inner = Inner {
            hash,
            quick: OnceLock::new(),
            turn: Semaphore::new(CHECKS_AT_A_TIME),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Whether this is the password. Waits for its turn, and blocks no thread that serves clients.
    pub(crate) async fn matches(&self, candidate: Bytes) -> bool {
        if candidate.len() > MAX_PASSWORD_BYTES {
            return false;
        }
        if let Some(quick) = self.inner.quick.get()
            && verifies(&candidate, quick)
        {
            return true;
        }
        let Ok(_turn) = self.inner.turn.acquire().await else {
            return false;
        };
        let inner = Arc::clone(&self.inner);
        let checked = tokio::task::spawn_blocking(move || inner.check(&candidate));
        checked.await.unwrap_or(false)
    }
}

impl Inner {
    fn check(&self, candidate: &[u8]) -> bool {
        let right = verifies(candidate, &self.hash);
        if right && self.quick.get().is_none() {
            // Without it every client is checked the slow way, which is no less safe.
            if let Ok(quick) = quick_hasher().hash_password(candidate) {
                let _known = self.quick.set(quick);
            }
        }
        right
    }
}

/// The comparison of the two hashes takes the same time wherever they differ.
fn verifies(candidate: &[u8], hash: &PasswordHash) -> bool {
    Argon2::default().verify_password(candidate, hash).is_ok()
}

/// The cheapest form of the function.
fn quick_hasher() -> Argon2<'static> {
    let params = Params::new(Params::MIN_M_COST, Params::MIN_T_COST, 1, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// The hash of a password, with a random salt: argon2id with the costs that its library recommends.
///
/// # Errors
/// If the password is empty or too long, or the system refuses.
pub fn hash(password: &[u8]) -> Result<String, PasswordError> {
    match password.len() {
        0 => return Err(PasswordError::Empty),
        bytes if bytes > MAX_PASSWORD_BYTES => return Err(PasswordError::TooLong { bytes }),
        _ => {}
    }
    let hash = Argon2::default().hash_password(password);
    let hash = hash.map_err(|error| PasswordError::System(error.to_string()))?;
    Ok(hash.to_string())
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hash of "secret" that is quick to check.
    fn quick() -> String {
        let hash = quick_hasher().hash_password(b"secret");
        hash.expect("the system has random bits").to_string()
    }

    #[tokio::test]
    async fn only_the_password_matches_its_hash() {
        let text = hash(b"secret").expect("a password");
        assert!(
            text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{text}"
        );
        let password = Password::from_hash(&format!(" {text}\n")).expect("a hash");
        for _ in 0..2 {
            assert!(password.matches(Bytes::from("secret")).await);
            for wrong in ["", "secre", "secret ", "Secret", &text, &"s".repeat(2000)] {
                assert!(!password.matches(Bytes::from(wrong.to_owned())).await);
            }
            assert!(
                password.inner.quick.get().is_some(),
                "the second time is quick"
            );
        }
    }

    #[test]
    fn two_hashes_of_a_password_differ() {
        assert_ne!(hash(b"secret"), hash(b"secret"));
    }

    #[test]
    fn what_is_not_a_hash_is_refused_and_not_repeated() {
        for text in [
            "",
            "secret",
            "$argon2id$",
            "$1$abc$def",
            "$argon2id$v=19$m=8,t=1,p=1",
        ] {
            let error = Password::from_hash(text).expect_err("not a hash");
            assert_eq!(error, PasswordError::NotAHash);
            assert!(!error.to_string().contains("secret"));
        }
    }

    #[test]
    fn a_hash_that_would_take_the_machine_is_refused() {
        let text = quick().replace("m=8,", "m=4000000,");
        let error = Password::from_hash(&text).expect_err("too costly");
        let (memory_kib, passes) = (4_000_000, 1);
        assert_eq!(error, PasswordError::TooCostly { memory_kib, passes });
    }

    #[test]
    fn a_password_has_to_be_there_and_of_a_sensible_length() {
        assert_eq!(hash(b""), Err(PasswordError::Empty));
        let bytes = MAX_PASSWORD_BYTES + 1;
        assert_eq!(
            hash(&vec![b'x'; bytes]),
            Err(PasswordError::TooLong { bytes })
        );
    }

    #[test]
    fn nothing_of_it_is_shown() {
        let password = Password::from_hash(&quick()).expect("a hash");
        assert_eq!(format!("{password:?}"), "Password(..)");
    }
}
