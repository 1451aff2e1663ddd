//! Limits and redaction of a recorder.

use rr_spi::observe::Observers;

use super::redaction::Redaction;

/// Longest file, and the most that a replay reads: a recording is a test case, not an archive.
pub(super) const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// As many calls as a server handles simultaneously by default.
const QUEUED_CALLS_MAX: usize = 1024;

/// Thirty calls with the longest bodies that are accepted by default.
const QUEUED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Limits and redaction of a [`Recorder`](super::Recorder).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecorderConfig {
    /// The parts of a call that are recorded. By default, credentials are not.
    pub redaction: Redaction,
    /// Maximum length of the recording in bytes: the recording ends before the line that exceeds it.
    /// Default 256 MiB; 0 records nothing.
    pub file_bytes_max: u64,
    /// Maximum number of calls that have ended and are not yet written; further calls are lost.
    /// Default 1024; 0 counts as 1.
    pub queued_calls_max: usize,
    /// Maximum number of bytes that such calls hold; further calls are lost. Bodies, headers, and the
    /// texts, details and attempts of errors count, and some bytes for each call. The sources of
    /// errors do not count. Default 64 MiB; 0 records nothing.
    pub queued_bytes_max: usize,
    /// Observers of [`Event::RecordingIncomplete`](crate::observe::Event::RecordingIncomplete).
    /// With the feature `tracing`, the event is logged as well. Default none.
    pub observers: Observers,
}

impl Default for RecorderConfig {
    fn default() -> Self {
        Self {
            redaction: Redaction::default(),
            file_bytes_max: FILE_BYTES_MAX,
            queued_calls_max: QUEUED_CALLS_MAX,
            queued_bytes_max: QUEUED_BYTES_MAX,
            observers: Observers::default(),
        }
    }
}

impl RecorderConfig {
    /// Replaces [`Self::redaction`].
    #[must_use]
    pub fn with_redaction(mut self, redaction: Redaction) -> Self {
        self.redaction = redaction;
        self
    }

    /// Replaces [`Self::file_bytes_max`].
    #[must_use]
    pub fn with_file_bytes_max(mut self, bytes: u64) -> Self {
        self.file_bytes_max = bytes;
        self
    }

    /// Replaces [`Self::queued_calls_max`].
    #[must_use]
    pub fn with_queued_calls_max(mut self, calls: usize) -> Self {
        self.queued_calls_max = calls;
        self
    }

    /// Replaces [`Self::queued_bytes_max`].
    #[must_use]
    pub fn with_queued_bytes_max(mut self, bytes: usize) -> Self {
        self.queued_bytes_max = bytes;
        self
    }

    /// Replaces [`Self::observers`].
    #[must_use]
    pub fn with_observers(mut self, observers: Observers) -> Self {
        self.observers = observers;
        self
    }
}
