//! Time ledger of an attempt: where its time went.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::spent::Spent;

/// Number of stages.
const STAGES: usize = 8;

/// Stage of an attempt: what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[repr(u8)]
pub enum Stage {
    /// A place among the calls that the requester has in flight.
    Place = 0,
    /// A connection: one that becomes free, or one that is being made or restored.
    Connection = 1,
    /// The addresses of the server's name.
    Lookup = 2,
    /// The connection of the socket, including that through a proxy.
    Connect = 3,
    /// The handshake of TLS, or of the transport.
    Handshake = 4,
    /// Room to write the request: the peer's window, or the queue of the connection.
    Sending = 5,
    /// The first byte of the reply.
    AwaitingReply = 6,
    /// The rest of the reply.
    ReadingReply = 7,
}

impl Stage {
    const ALL: [Self; STAGES] = [
        Self::Place,
        Self::Connection,
        Self::Lookup,
        Self::Connect,
        Self::Handshake,
        Self::Sending,
        Self::AwaitingReply,
        Self::ReadingReply,
    ];

    /// Returns the stage with this number. Numbers beyond the last stage mean the last stage.
    pub(crate) fn of_number(number: u8) -> Self {
        Self::ALL[usize::from(number).min(STAGES - 1)]
    }

    /// Returns what an attempt does in this stage, in words.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Place => "waiting for a place among the calls in flight",
            Self::Connection => "waiting for a connection",
            Self::Lookup => "looking up the address",
            Self::Connect => "connecting",
            Self::Handshake => "in the handshake",
            Self::Sending => "waiting to send the request",
            Self::AwaitingReply => "waiting for the reply",
            Self::ReadingReply => "reading the reply",
        }
    }

    /// Returns the name of the stage, such as `awaiting-reply`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Place => "place",
            Self::Connection => "connection",
            Self::Lookup => "lookup",
            Self::Connect => "connect",
            Self::Handshake => "handshake",
            Self::Sending => "sending",
            Self::AwaitingReply => "awaiting-reply",
            Self::ReadingReply => "reading-reply",
        }
    }

    /// Parses the name of a stage. Returns `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == text)
    }
}

/// Times of the stages of one attempt.
///
/// A stage begins when the attempt waits for something else than before. The time that the attempt
/// computes counts to the stage in which it waits next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    micros: [u32; STAGES],
    last: Stage,
    pub(crate) note: Option<Cow<'static, str>>,
    server: Option<Box<Spent>>,
}

impl Timeline {
    /// Makes the times of an attempt that ended in this stage, without any time. For readers of
    /// records; a transport has [`Attempt::timeline`](crate::Attempt::timeline).
    #[must_use]
    pub const fn new(last: Stage) -> Self {
        Self { micros: [0; STAGES], last, note: None, server: None }
    }

    /// Replaces the time spent in a stage: whole microseconds, at most 71 minutes.
    #[must_use]
    pub fn with_spent(mut self, stage: Stage, time: Duration) -> Self {
        self.micros[stage as usize] = micros(time);
        self
    }

    /// Returns the time spent in a stage, in whole microseconds, at most 71 minutes.
    #[must_use]
    pub fn spent(&self, stage: Stage) -> Duration {
        Duration::from_micros(self.micros[stage as usize].into())
    }

    /// Returns the stage in which the attempt ended.
    #[must_use]
    pub fn last(&self) -> Stage {
        self.last
    }

    /// Returns the stages that took time, in the order in which an attempt passes them.
    pub fn stages(&self) -> impl Iterator<Item = (Stage, Duration)> {
        let spent = Stage::ALL.map(|stage| (stage, self.spent(stage)));
        spent.into_iter().filter(|(_, spent)| !spent.is_zero())
    }

    /// Returns the time of all stages.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.stages().map(|(_, spent)| spent).sum()
    }

    /// Returns the stage that took longest.
    #[must_use]
    pub fn longest(&self) -> Stage {
        let longest = Stage::ALL.into_iter().max_by_key(|stage| self.micros[*stage as usize]);
        longest.unwrap_or(self.last)
    }

    /// Moves time from one stage to another: at most what the first has.
    fn moved(&mut self, from: Stage, to: Stage, time: Duration) {
        let time = micros(time).min(self.micros[from as usize]);
        self.micros[from as usize] -= time;
        self.micros[to as usize] = self.micros[to as usize].saturating_add(time);
    }

    /// Splits the wait for a connection by the stages of the dial for which the attempt waited to its
    /// end, and ends in the last stage of the dial.
    ///
    /// Counts the stages of the dial from the last one back, so that the part of the dial before the
    /// attempt is left out.
    fn with_dial(mut self, dial: &Self) -> Self {
        for stage in [Stage::Handshake, Stage::Connect, Stage::Lookup] {
            self.moved(Stage::Connection, stage, dial.spent(stage));
        }
        if self.last == Stage::Connection {
            self.last = dial.last;
        }
        self
    }

    /// Returns what the transport says about the stage in which the attempt ended, such as how many
    /// connections are in use.
    #[must_use]
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Sets the note about the stage in which the attempt ended. For transports.
    #[must_use]
    pub fn with_note(mut self, note: impl Into<Cow<'static, str>>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// Returns what the server states about the time while the attempt waited for the reply; `None`
    /// unless it was [asked](crate::Context::recorded) and answered.
    #[must_use]
    pub fn server(&self) -> Option<&Spent> {
        self.server.as_deref()
    }

    /// Replaces what the server states about the time while the attempt waited for the reply.
    #[must_use]
    pub fn with_server(mut self, server: Option<Box<Spent>>) -> Self {
        self.server = server;
        self
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (stage, spent) in self.stages() {
            write!(f, "{separator}{spent:.1?} {}", stage.describe())?;
            separator = ", ";
        }
        if separator.is_empty() { f.write_str("no time") } else { Ok(()) }
    }
}

/// Ledger of a running attempt.
///
/// The clock is read once at the start and once for each time that the attempt is woken.
pub(crate) struct Ledger {
    began: Instant,
    micros: [AtomicU32; STAGES],
    stage: AtomicU8,
    /// Whether bytes of the request may have left.
    pub(crate) sent: AtomicBool,
}

impl Ledger {
    pub(crate) fn new(began: Instant) -> Self {
        let (stage, sent) = (AtomicU8::new(Stage::Place as u8), AtomicBool::new(false));
        Self { began, micros: Default::default(), stage, sent }
    }

    /// Records what the attempt waits for from now on.
    pub(crate) fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    pub(crate) fn stage(&self) -> Stage {
        Stage::of_number(self.stage.load(Ordering::Relaxed))
    }

    /// Adds the time since the last tick to the current stage.
    pub(crate) fn tick(&self) {
        let passed = micros(self.began.elapsed());
        let known: u32 = self.micros.iter().map(|spent| spent.load(Ordering::Relaxed)).sum();
        let spent = &self.micros[self.stage() as usize];
        spent.fetch_add(passed.saturating_sub(known), Ordering::Relaxed);
    }

    /// Makes the time of one stage that of another, which becomes the current stage.
    pub(crate) fn correct(&self, wrong: Stage, right: Stage) {
        let spent = self.micros[wrong as usize].swap(0, Ordering::Relaxed);
        self.micros[right as usize].fetch_add(spent, Ordering::Relaxed);
        self.enter(right);
    }

    /// Splits the wait for a connection, until now, by the stages of a dial.
    pub(crate) fn split(&self, dial: &Timeline) {
        self.tick();
        let Timeline { micros, last, .. } = self.timeline().with_dial(dial);
        for (spent, micros) in self.micros.iter().zip(micros) {
            spent.store(micros, Ordering::Relaxed);
        }
        self.enter(last);
    }

    /// Returns the times until the last tick.
    pub(crate) fn timeline(&self) -> Timeline {
        let micros = self.micros.each_ref().map(|spent| spent.load(Ordering::Relaxed));
        Timeline { micros, last: self.stage(), note: None, server: None }
    }

    /// Returns the times until now. Unlike [`Ledger::tick`], any task may call this.
    pub(crate) fn timeline_now(&self) -> Timeline {
        let mut timeline = self.timeline();
        let passed = micros(self.began.elapsed());
        let known: u32 = timeline.micros.iter().sum();
        timeline.micros[timeline.last as usize] += passed.saturating_sub(known);
        timeline
    }
}

/// Returns a duration in microseconds, at most 71 minutes.
fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[tokio::test(start_paused = true)]
    async fn time_counts_to_the_stage_in_which_it_passed() {
        let ledger = Ledger::new(Instant::now());
        ledger.enter(Stage::Connection);
        tokio::time::sleep(ms(30)).await;
        ledger.tick();
        ledger.enter(Stage::AwaitingReply);
        tokio::time::sleep(ms(12)).await;
        ledger.tick();
        let mut timeline = ledger.timeline();
        let stages: Vec<_> = timeline.stages().collect();
        assert_eq!(stages, [(Stage::Connection, ms(30)), (Stage::AwaitingReply, ms(12))]);
        assert_eq!((timeline.total(), timeline.longest()), (ms(42), Stage::Connection));
        assert_eq!(timeline.last(), Stage::AwaitingReply);
        timeline.moved(Stage::Connection, Stage::Lookup, ms(10));
        timeline.moved(Stage::Connection, Stage::Connect, ms(100));
        assert_eq!(
            timeline.to_string(),
            "10.0ms looking up the address, 20.0ms connecting, 12.0ms waiting for the reply"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_dial_counts_from_its_end_back_as_far_as_the_attempt_waited() {
        let dial = Ledger::new(Instant::now());
        dial.enter(Stage::Lookup);
        tokio::time::sleep(ms(20)).await;
        let attempt = Ledger::new(Instant::now());
        attempt.enter(Stage::Connection);
        tokio::time::sleep(ms(10)).await;
        dial.tick();
        dial.enter(Stage::Connect);
        tokio::time::sleep(ms(5)).await;
        attempt.split(&dial.timeline_now());
        let timeline = attempt.timeline();
        let stages: Vec<_> = timeline.stages().collect();
        assert_eq!(stages, [(Stage::Lookup, ms(10)), (Stage::Connect, ms(5))]);
        assert_eq!(timeline.last(), Stage::Connect);
        attempt.enter(Stage::AwaitingReply);
        attempt.correct(Stage::Lookup, Stage::Sending);
        let stages: Vec<_> = attempt.timeline().stages().collect();
        assert_eq!(stages, [(Stage::Connect, ms(5)), (Stage::Sending, ms(10))]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_of_days_is_cut_and_does_not_wrap() {
        let ledger = Ledger::new(Instant::now());
        for _ in 0..3 {
            tokio::time::sleep(ms(60 * 60 * 1000)).await;
            ledger.tick();
        }
        let total = Duration::from_micros(u32::MAX.into());
        assert_eq!(ledger.timeline().total(), total);
    }

    #[test]
    fn times_that_were_read_are_those_that_were_written() {
        let times = Timeline::new(Stage::Connect).with_spent(Stage::Lookup, ms(3));
        let times =
            times.with_spent(Stage::Connect, Duration::MAX).with_spent(Stage::Lookup, ms(2));
        assert_eq!((times.last(), times.spent(Stage::Lookup)), (Stage::Connect, ms(2)));
        assert_eq!(times.spent(Stage::Connect), Duration::from_micros(u32::MAX.into()));
    }

    #[test]
    fn stages_stand_at_their_own_numbers_and_names() {
        for (at, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, at);
            assert_eq!(Stage::parse(stage.as_str()), Some(stage));
        }
    }
}
