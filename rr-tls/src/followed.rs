//! A value that is made from files, and made again when they change.

use std::fs::Metadata;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::SystemTime;

use rr_spi::Error;

use crate::pem::Pem;

/// Value that follows its files. A change that cannot be used leaves the value as it is.
pub(crate) struct Followed<T> {
    files: Vec<PathBuf>,
    make: Box<dyn Fn() -> Result<Arc<T>, Error> + Send + Sync>,
    state: Mutex<State<T>>,
    /// Held during a check, so that an older reading never replaces a newer one.
    checking: Mutex<()>,
}

struct State<T> {
    current: Arc<T>,
    /// Stamps of the files from before they were last read.
    seen: Vec<Stamp>,
    failure: Option<Error>,
}

/// Marks of a file that change with its content. An atomic replacement of the file changes the
/// number of its inode, even within the resolution of the time.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl<T> Followed<T> {
    /// Makes the value for the first time.
    ///
    /// # Errors
    ///
    /// Those of `make`.
    pub(crate) fn new(
        pems: &[&Pem],
        make: impl Fn() -> Result<Arc<T>, Error> + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let files: Vec<_> = pems.iter().filter_map(|pem| Some(pem.path()?.to_owned())).collect();
        // Before the files are read: a change while they are read is seen by the next check.
        let seen = stamps(&files);
        let state = State { current: make()?, seen, failure: None };
        let (state, checking) = (Mutex::new(state), Mutex::default());
        Ok(Self { files, make: Box::new(make), state, checking })
    }

    /// Returns whether the value has files that can change.
    pub(crate) fn has_files(&self) -> bool {
        !self.files.is_empty()
    }

    /// Returns the current value.
    pub(crate) fn current(&self) -> Arc<T> {
        Arc::clone(&self.lock().current)
    }

    /// Returns the error of the last reading, if the files of then could not be used.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.lock().failure.clone()
    }

    /// Makes the value again if a file has changed, and returns whether it did. Blocks while it
    /// reads. During another check it returns `false` immediately: on a file system that hangs,
    /// checks do not pile up.
    ///
    /// # Errors
    ///
    /// Those of `make`, once for each change.
    pub(crate) fn check(&self) -> Result<bool, Error> {
        let _alone = match self.checking.try_lock() {
            Ok(alone) => alone,
            Err(TryLockError::Poisoned(alone)) => alone.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(false),
        };
        let now = stamps(&self.files);
        if self.lock().seen == now {
            return Ok(false);
        }
        let made = (self.make)();
        let mut state = self.lock();
        state.seen = now;
        state.failure = made.as_ref().err().cloned();
        state.current = made?;
        Ok(true)
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the stamps of files; a file that cannot be looked at has an empty one.
fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |file| match std::fs::metadata(file) {
        Ok(found) => {
            Stamp { modified: found.modified().ok(), length: found.len(), inode: inode(&found) }
        }
        Err(_) => Stamp { modified: None, length: 0, inode: 0 },
    };
    files.iter().map(stamp).collect()
}

#[cfg(unix)]
fn inode(found: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(found)
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_check_that_hangs_holds_up_no_other() {
        let file = std::env::temp_dir().join(format!("rr-tls-followed-{}", std::process::id()));
        std::fs::write(&file, "old").unwrap();
        let (began, beginnings) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let (runs, released) = (AtomicUsize::new(0), Mutex::new(released));
        let followed = Followed::new(&[&Pem::from(file.as_path())], move || {
            let run = runs.fetch_add(1, Ordering::SeqCst);
            if run > 0 {
                began.send(()).unwrap();
                released.lock().unwrap().recv().unwrap();
            }
            Ok(Arc::new(run))
        })
        .unwrap();
        std::fs::write(&file, "newer").unwrap();
        std::thread::scope(|scope| {
            let hanging = scope.spawn(|| followed.check().unwrap());
            beginnings.recv().unwrap();
            assert!(!followed.check().unwrap());
            assert_eq!(*followed.current(), 0);
            release.send(()).unwrap();
            assert!(hanging.join().unwrap());
        });
        assert_eq!(*followed.current(), 1);
        std::fs::remove_file(file).unwrap();
    }
}
