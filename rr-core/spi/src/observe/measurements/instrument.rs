//! The instruments: their names, kinds and units.

use crate::observe::names;

/// Kind of an instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InstrumentKind {
    /// Distribution of values.
    Histogram,
    /// Sum that only rises.
    Counter,
    /// Sum that rises and falls.
    UpDownCounter,
    /// Value that replaces the last one.
    Gauge,
}

/// Declares the instruments: each is one entry.
macro_rules! instruments {
    ($($(#[$doc:meta])* $variant:ident = $name:ident, $kind:ident, $unit:literal, $text:literal;)*) => {
        /// Instrument that [`Measurements`](super::Measurements) are recorded in.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Instrument {
            $(#[doc = concat!("[`names::", stringify!($name), "`]: ", $text, ".")] $variant,)*
        }

        impl Instrument {
            /// All instruments, in the order of [`Instrument::index`].
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns the name, one of [`names`].
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => names::$name,)* }
            }

            /// Returns the kind.
            #[must_use]
            pub const fn kind(self) -> InstrumentKind {
                match self { $(Self::$variant => InstrumentKind::$kind,)* }
            }

            /// Returns the unit as the conventions of OpenTelemetry write it: `s`, or what is
            /// counted in braces, such as `{request}`.
            #[must_use]
            pub const fn unit(self) -> &'static str {
                match self { $(Self::$variant => $unit,)* }
            }

            /// Returns the description, for the documentation that an exporter adds.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

instruments! {
    ClientCallDuration = CLIENT_CALL_DURATION, Histogram, "s",
        "Duration of calls with all of their attempts";
    ClientAttemptDuration = CLIENT_ATTEMPT_DURATION, Histogram, "s",
        "Duration of attempts of calls";
    ServerCallDuration = SERVER_CALL_DURATION, Histogram, "s",
        "Duration of requests from their arrival to their outcome";
    ServerQueueDuration = SERVER_QUEUE_DURATION, Histogram, "s",
        "Time of requests from their arrival until the handler was entered";
    ClientInFlight = CLIENT_IN_FLIGHT, UpDownCounter, "{attempt}",
        "Attempts in flight";
    ServerInFlight = SERVER_IN_FLIGHT, UpDownCounter, "{request}",
        "Requests in flight";
    ServerRefused = SERVER_REFUSED, Counter, "{request}",
        "Requests that were refused before their handler ran";
    ClientRetries = CLIENT_RETRIES, Counter, "{attempt}",
        "Attempts that followed a failed one";
    ClientRetriesRefused = CLIENT_RETRIES_REFUSED, Counter, "{attempt}",
        "Failed attempts that no attempt followed because the retry budget was spent";
    ClientRetryBudget = CLIENT_RETRY_BUDGET, Gauge, "{attempt}",
        "Retries left in the retry budget when a call last read it";
    ClientLateReplies = CLIENT_LATE_REPLIES, Counter, "{reply}",
        "Replies that arrived after their call had ended";
    ClientEjections = CLIENT_EJECTIONS, Counter, "{ejection}",
        "Ejections of endpoints";
    ClientEndpointsEjected = CLIENT_ENDPOINTS_EJECTED, UpDownCounter, "{endpoint}",
        "Endpoints that are ejected";
    ClientHedges = CLIENT_HEDGES, Counter, "{attempt}",
        "Second requests for calls that took unusually long";
    ClientHedgesWon = CLIENT_HEDGES_WON, Counter, "{attempt}",
        "Second requests whose outcome became that of their call";
    ClientHedgesRefused = CLIENT_HEDGES_REFUSED, Counter, "{attempt}",
        "Second requests that were not sent because a budget was spent";
    ClientThrottled = CLIENT_THROTTLED, Counter, "{call}",
        "Calls that were held back because their destination refuses or fails most calls";
    LimitRefused = LIMIT_REFUSED, Counter, "{call}",
        "Calls that a limit of calls in flight or of calls per second refused";
    ConcurrencyLimit = CONCURRENCY_LIMIT, Gauge, "{call}",
        "Calls that a limit admits simultaneously when a call last ended";
    Disconnects = DISCONNECTS, Counter, "{connection}",
        "Lasting connections that were lost";
    Reconnects = RECONNECTS, Counter, "{connection}",
        "Lasting connections that are back";
    HandshakesRefused = HANDSHAKES_REFUSED, Counter, "{connection}",
        "Connections that a server refused during their handshake";
}

impl Instrument {
    /// Returns the position in [`Instrument::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn instruments_have_distinct_names_and_are_found_by_their_index() {
        let names: HashSet<_> = Instrument::ALL.iter().map(|it| it.name()).collect();
        assert_eq!(names.len(), Instrument::ALL.len());
        for instrument in Instrument::ALL {
            assert_eq!(Instrument::ALL[instrument.index()], *instrument);
        }
    }
}
