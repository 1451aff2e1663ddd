//! Makes the proof of identity for one connection from the credentials.

use std::fmt::Display;
use std::sync::Mutex;

use rr_spi::{Bytes, Error};
use tokio::task::JoinSet;

use crate::config::{NatsAuth, NatsAuthCallback, NatsCredentials};
use crate::error;
use crate::sync::lock;

/// Progress of the authentication of one connection. The client library passes on neither the error
/// of an authentication nor that it has not ended.
#[derive(Debug, Default)]
pub(super) struct Authentication(Mutex<Stage>);

#[derive(Debug, Default)]
enum Stage {
    /// Not begun, or successful.
    #[default]
    Idle,
    /// The credentials are being read, or asked for.
    Pending,
    Failed(Error),
}

impl Authentication {
    /// Authenticates, and records the outcome.
    pub(super) async fn run(
        &self,
        credentials: &NatsCredentials,
        nonce: Bytes,
    ) -> Option<NatsAuth> {
        self.set(Stage::Pending);
        let outcome = authenticate(credentials, nonce).await;
        let (auth, stage) = match outcome {
            Ok(auth) => (Some(auth), Stage::Idle),
            Err(error) => (None, Stage::Failed(error)),
        };
        self.set(stage);
        auth
    }

    /// Returns why there was no proof of identity, if that is why the connection was not made.
    pub(super) fn failure(&self) -> Option<Error> {
        match &*lock(&self.0) {
            Stage::Idle => None,
            Stage::Pending => Some(error::credentials_late()),
            Stage::Failed(error) => Some(error.clone()),
        }
    }

    fn set(&self, stage: Stage) {
        *lock(&self.0) = stage;
    }
}

/// Makes the proof of identity for one connection. `nonce` is what the server asks to be signed.
///
/// # Errors
///
/// The delivery is always `NotSent`. `FailedPrecondition` if a file cannot be used. If a callback
/// fails, its code if that is one of a refusal, and `Unavailable` otherwise.
pub(super) async fn authenticate(
    credentials: &NatsCredentials,
    nonce: Bytes,
) -> Result<NatsAuth, Error> {
    Ok(match credentials {
        NatsCredentials::None => NatsAuth::default(),
        NatsCredentials::UserPassword { user, password } => {
            NatsAuth::default().with_user(user, password)
        }
        NatsCredentials::Token(token) => NatsAuth::default().with_token(token),
        NatsCredentials::Callback(callback) => ask(callback.clone(), nonce).await?,
        #[cfg(feature = "nkeys")]
        NatsCredentials::Nkey(seed) => NatsAuth::default().signed(seed, &nonce)?,
        #[cfg(feature = "nkeys")]
        NatsCredentials::NkeyFile(path) => {
            let text = file::read(path).await?;
            let seed = crate::config::keys::seed_of_file(&text);
            let auth = seed.and_then(|seed| NatsAuth::default().signed(seed, &nonce));
            auth.map_err(|error| file::in_file(path, &error))?
        }
        #[cfg(feature = "nkeys")]
        NatsCredentials::CredentialsFile(path) => {
            let text = file::read(path).await?;
            let auth = crate::config::keys::UserFile::parse(&text)
                .and_then(|user| NatsAuth::default().with_jwt(user.jwt).signed(user.seed, &nonce));
            auth.map_err(|error| file::in_file(path, &error))?
        }
        // The check of the configuration refuses these.
        #[cfg(not(feature = "nkeys"))]
        NatsCredentials::Nkey(_)
        | NatsCredentials::NkeyFile(_)
        | NatsCredentials::CredentialsFile(_) => NatsAuth::default(),
    })
}

/// Asks the callback in a task, which catches a panic and ends when this is dropped.
async fn ask(callback: NatsAuthCallback, nonce: Bytes) -> Result<NatsAuth, Error> {
    let mut asked = JoinSet::new();
    asked.spawn(callback.answer(nonce));
    let failed = |what: &dyn Display| error::callback_failed(what, None);
    match asked.join_next().await {
        Some(Ok(Ok(auth))) if auth.signature.is_some() && !cfg!(feature = "nkeys") => {
            Err(failed(&"its signature needs the feature `nkeys` of rr-nats"))
        }
        Some(Ok(Ok(auth))) => Ok(auth),
        Some(Ok(Err(error))) => {
            Err(error::callback_failed(&error.message().to_owned(), Some(error)))
        }
        Some(Err(end)) if end.is_panic() => Err(failed(&"it panicked")),
        _ => Err(failed(&"its runtime is ending")),
    }
}

#[cfg(feature = "nkeys")]
mod file {
    use std::fs::{self, File};
    use std::io::{self, Read as _};
    use std::path::Path;

    use rr_spi::Error;
    use tokio::sync::Semaphore;

    use crate::error;

    /// Maximum number of files that are read simultaneously in a process. A file system that hangs
    /// holds a thread for each read, also after its connection has been given up, and look-ups of
    /// names need these threads. Further reads wait within `connect_timeout`.
    const READS_MAX: usize = 16;

    static READS: Semaphore = Semaphore::const_new(READS_MAX);

    /// Maximum length of a credentials file: those of `nsc` have about 1 KiB.
    const BYTES_MAX: u64 = 64 * 1024;

    /// Reads a file on a thread that may block.
    pub(super) async fn read(path: &Path) -> Result<String, Error> {
        let owned = path.to_owned();
        let text = on_a_thread(move || read_blocking(&owned)).await;
        text.map_err(|cause| error::credentials_file(path, cause))
    }

    /// Runs a read on a thread, which counts until the read ends, even if this is dropped.
    async fn on_a_thread<T: Send + 'static>(
        read: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let permit = READS.acquire().await.map_err(io::Error::other)?;
        let reading = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            read()
        });
        reading.await.unwrap_or_else(|_| Err(io::Error::other("the runtime is ending")))
    }

    fn read_blocking(path: &Path) -> io::Result<String> {
        // Opening a pipe could block forever.
        let meta = fs::metadata(path)?;
        if !meta.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let mut text = String::new();
        File::open(path)?.take(BYTES_MAX + 1).read_to_string(&mut text)?;
        match text.len() as u64 > BYTES_MAX {
            true => Err(io::Error::other("it is longer than 64 KiB")),
            false => Ok(text),
        }
    }

    /// Adds the path to an error about the contents of a file.
    pub(super) fn in_file(path: &Path, error: &Error) -> Error {
        error::credentials_file(path, error.message()).with_hint(error.hint().to_owned())
    }

    #[cfg(test)]
    mod tests {
        use std::sync::mpsc;

        use tokio::task::JoinSet;

        use super::*;

        #[tokio::test]
        async fn reads_that_hang_hold_their_threads_and_further_ones_wait() {
            let mut closed_gates = Vec::new();
            let mut hanging = JoinSet::new();
            for _ in 0..READS_MAX {
                let (closed, gate) = mpsc::channel::<()>();
                closed_gates.push(closed);
                hanging.spawn(on_a_thread(move || {
                    gate.recv().unwrap_err();
                    Ok(())
                }));
            }
            while READS.available_permits() > 0 {
                tokio::task::yield_now().await;
            }
            hanging.shutdown().await;
            assert_eq!(READS.available_permits(), 0, "a read that is given up still hangs");
            drop(closed_gates);
            on_a_thread(|| Ok(())).await.unwrap();
        }
    }
}
