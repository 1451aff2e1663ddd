//! Nkeys, and the files that hold them: pure functions. No error shows what a file or a seed holds.

use nkeys::{KeyPair, KeyPairType};
use rr_spi::{Code, Delivery, Error};

/// Contents of a credentials file.
pub(crate) struct UserFile<'a> {
    pub(crate) jwt: &'a str,
    pub(crate) seed: &'a str,
}

impl<'a> UserFile<'a> {
    /// Parses a credentials file: a block with the JWT and one with the seed.
    ///
    /// # Errors
    ///
    /// `FailedPrecondition`, not sent, if one of the blocks is missing.
    pub(crate) fn parse(text: &'a str) -> Result<Self, Error> {
        match (block(text, "JWT"), block(text, "SEED")) {
            (Some(jwt), Some(seed)) => Ok(Self { jwt, seed }),
            (None, _) => Err(unfit("the credentials file has no JWT", FILE_HINT)),
            (_, None) => Err(unfit("the credentials file has no seed", FILE_HINT)),
        }
    }
}

const FILE_HINT: &str = "a credentials file has a block `BEGIN NATS USER JWT` and a block `BEGIN \
                         USER NKEY SEED`, as `nsc` writes it";

const SEED_HINT: &str = "the seed of a user's nkey has 58 characters and begins with `SU`";

/// Returns the seed that a file holds: in a block, or alone on its first line.
///
/// # Errors
///
/// `FailedPrecondition`, not sent, if the file is empty.
pub(crate) fn seed_of_file(text: &str) -> Result<&str, Error> {
    let alone = || text.lines().map(str::trim).find(|line| !line.is_empty());
    block(text, "SEED").or_else(alone).ok_or_else(|| unfit("the nkey file is empty", SEED_HINT))
}

/// Returns the key of a seed.
///
/// # Errors
///
/// `FailedPrecondition`, not sent, if the seed is not that of a user.
pub(crate) fn key_of(seed: &str) -> Result<KeyPair, Error> {
    // The library's error is not shown: it may quote the seed.
    let key =
        KeyPair::from_seed(seed.trim()).map_err(|_| unfit("the seed is invalid", SEED_HINT))?;
    match key.key_pair_type() {
        KeyPairType::User => Ok(key),
        _ => Err(unfit("the seed is not that of a user", SEED_HINT)),
    }
}

/// Signs the nonce of a server.
///
/// # Errors
///
/// `FailedPrecondition`, not sent, if the key cannot sign.
pub(crate) fn sign(key: &KeyPair, nonce: &[u8]) -> Result<Vec<u8>, Error> {
    key.sign(nonce).map_err(|_| unfit("the nkey cannot sign", SEED_HINT))
}

/// Returns the first line of the block whose heading, `-----BEGIN ...-----`, ends with `kind`.
fn block<'a>(text: &'a str, kind: &str) -> Option<&'a str> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.find(|line| {
        let heading = line.trim_matches('-');
        line.starts_with("---") && heading.starts_with("BEGIN ") && heading.ends_with(kind)
    })?;
    lines.next().filter(|line| !line.starts_with("---"))
}

fn unfit(message: &'static str, hint: &'static str) -> Error {
    Error::failure(Code::FailedPrecondition, Delivery::NotSent, None, message).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(jwt: &str, seed: &str) -> String {
        format!(
            "-----BEGIN NATS USER JWT-----\r\n{jwt}\r\n------END NATS USER JWT------\r\n\r\n\
             *** IMPORTANT ***\nKeep this secret.\n\n-----BEGIN USER NKEY SEED-----\n{seed}\n\
             ------END USER NKEY SEED------\n"
        )
    }

    #[test]
    fn a_credentials_file_has_a_jwt_and_a_seed() {
        let text = file("e.y.J", "SUA");
        let user = UserFile::parse(&text).unwrap();
        assert_eq!((user.jwt, user.seed), ("e.y.J", "SUA"));
        for (bad, lacks) in [
            ("", "JWT"),
            ("SUA", "JWT"),
            (&text[..40], "seed"),
            (&file("", "SUA"), "JWT"),
            (&file("e.y.J", ""), "seed"),
        ] {
            let error = UserFile::parse(bad).err().unwrap();
            assert_eq!(error.code(), Code::FailedPrecondition);
            assert!(error.message().contains(lacks), "{bad}: {error}");
        }
    }

    #[test]
    fn an_nkey_file_has_a_seed_in_a_block_or_alone() {
        for text in ["SUA", "\n SUA \nrest", &file("e.y.J", "SUA")] {
            assert_eq!(seed_of_file(text).unwrap(), "SUA");
        }
        assert!(seed_of_file(" \n").is_err());
    }

    #[test]
    fn a_seed_is_that_of_a_user() {
        let user = KeyPair::new_user();
        let key = key_of(&format!(" {}\n", user.seed().unwrap())).unwrap();
        let signature = sign(&key, b"nonce").unwrap();
        user.verify(b"nonce", &signature).unwrap();
        let account = KeyPair::new_account().seed().unwrap();
        for bad in ["", "SU", &user.public_key(), &account, &"SUA".repeat(40)] {
            let error = key_of(bad).err().unwrap();
            assert_eq!(error.code(), Code::FailedPrecondition);
            assert!(bad.is_empty() || !format!("{error:?}").contains(&format!("{bad}\"")));
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "(-----BEGIN )?\\PC{0,9}(JWT|SEED)?-{0,5}\n?\\PC{0,60}") {
            let _ = UserFile::parse(&text);
            let _ = seed_of_file(&text);
            let _ = key_of(&text);
        }
    }
}
