//! Subjects of targets, cancels and replies, and the subscriptions of a server.

use std::collections::BTreeSet;

use bytes::BufMut;
use rr_spi::{Code, Delivery, Error, Route, Routes, Target};

/// Prefix of cancel subjects.
pub(crate) const CANCEL: &str = "_RR.cancel";

/// Returns the subject of a target under a prefix.
pub(crate) fn subject_of(prefix: &str, target: &Target) -> String {
    under(prefix, target.as_str())
}

fn under(prefix: &str, rest: &str) -> String {
    if prefix.is_empty() { rest.to_owned() } else { [prefix, ".", rest].concat() }
}

/// Returns the target that a subject names under a prefix.
pub(crate) fn target_of<'a>(prefix: &str, subject: &'a str) -> Option<&'a str> {
    if prefix.is_empty() {
        return Some(subject);
    }
    subject.strip_prefix(prefix)?.strip_prefix('.')
}

/// Returns the subject on which calls of a service are cancelled.
pub(crate) fn cancel_subject(prefix: &str, service: &str) -> String {
    let parts = [CANCEL, prefix, service];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
}

/// Last token of a reply subject: a slot, and a secret that distinguishes the uses of the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) slot: usize,
    pub(crate) secret: u64,
}

impl Token {
    /// Maximum number of bytes that [`Token::write`] writes after the inbox.
    pub(crate) const BYTES_MAX: usize = 1 + 16 + 1 + 16;

    /// Returns the reply subject under an inbox, which has no trailing dot.
    pub(crate) fn subject(self, inbox: &str) -> String {
        let mut out = Vec::with_capacity(inbox.len() + Self::BYTES_MAX);
        self.write(inbox, &mut out);
        // Never fails: the token is ASCII, and the inbox is text.
        String::from_utf8(out).unwrap_or_default()
    }

    /// Writes the reply subject under an inbox.
    pub(crate) fn write(self, inbox: &str, out: &mut impl BufMut) {
        out.put_slice(inbox.as_bytes());
        out.put_u8(b'.');
        // At least one digit.
        let digits = (usize::BITS - self.slot.leading_zeros()).div_ceil(4).max(1);
        hex(self.slot as u64, digits, out);
        out.put_u8(b'-');
        hex(self.secret, 16, out);
    }

    /// Parses the last token of a reply subject.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (slot, secret) = text.split_once('-')?;
        let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !hex(slot) || !hex(secret) || secret.len() != 16 {
            return None;
        }
        let slot = usize::from_str_radix(slot, 16).ok()?;
        Some(Self { slot, secret: u64::from_str_radix(secret, 16).ok()? })
    }
}

/// Writes the lowest hexadecimal digits of a number.
fn hex(number: u64, digits: u32, out: &mut impl BufMut) {
    for digit in (0..digits).rev() {
        out.put_u8(b"0123456789abcdef"[(number >> (digit * 4)) as usize & 0xf]);
    }
}

/// Subscriptions of a server, without overlaps. Two subscriptions that match one subject would
/// share its messages in a queue group, and would both receive each message without a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SubscriptionSet {
    /// Subjects of requests.
    pub(crate) requests: Vec<String>,
    /// Subjects of cancel messages.
    pub(crate) cancels: Vec<String>,
}

impl SubscriptionSet {
    /// Makes the subscriptions for these routes under a prefix.
    pub(crate) fn of(prefix: &str, routes: &Routes) -> Result<Self, Error> {
        if routes.iter().any(|(route, _)| route == Route::Fallback) {
            if prefix.is_empty() {
                let text = "a fallback takes everything under the URL's prefix, and there is none";
                return Err(Error::failure(Code::InvalidArgument, Delivery::NotSent, None, text)
                    .with_hint("give the URL a path: `nats://host/prefix`"));
            }
            let cancel = cancel_subject(prefix, "");
            let cancels = vec![cancel.clone(), format!("{cancel}.>")];
            return Ok(Self { requests: vec![under(prefix, ">")], cancels });
        }
        let mut services: BTreeSet<String> = routes.closed_services().map(str::to_owned).collect();
        let mut targets = Vec::new();
        for (route, _) in routes.iter() {
            match route {
                Route::Service(name) => drop(services.insert(name)),
                Route::Target(name) => targets.push(Target::parse(&name)?),
                _ => {}
            }
        }
        let mut cancels: BTreeSet<String> =
            services.iter().map(|service| cancel_subject(prefix, service)).collect();
        let mut requests: Vec<_> =
            services.iter().map(|s| under(prefix, &format!("{s}.*"))).collect();
        for target in targets.iter().filter(|target| !services.contains(target.service())) {
            cancels.insert(cancel_subject(prefix, target.service()));
            requests.push(subject_of(prefix, target));
        }
        Ok(Self { requests, cancels: cancels.into_iter().collect() })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use rr_spi::{Context, Declared, Request, Responder, Response, async_trait};

    use super::*;

    struct Nobody;

    #[async_trait]
    impl Responder for Nobody {
        async fn respond(&self, _: &Context, _: Request) -> Result<Response, Error> {
            Ok(Response::default())
        }
    }

    fn routes(routes: &[Route]) -> Routes {
        let mut table = Routes::new();
        for route in routes {
            table.insert(route.clone(), Declared::Unspecified, Arc::new(Nobody)).unwrap();
        }
        table
    }

    #[test]
    fn targets_of_a_service_that_is_whole_or_closed_are_not_subscribed_to_twice() {
        let mut table = routes(&[
            Route::Target("ping".into()),
            Route::Target("a.x".into()),
            Route::Target("b.c.y".into()),
            Route::Target("d.z".into()),
            Route::Service("a".into()),
        ]);
        table.close_service("b.c").unwrap();
        let plan = SubscriptionSet::of("", &table).unwrap();
        assert_eq!(plan.requests, ["a.*", "b.c.*", "d.z", "ping"]);
        let cancels = ["_RR.cancel", "_RR.cancel.a", "_RR.cancel.b.c", "_RR.cancel.d"];
        assert_eq!(plan.cancels, cancels);
        let plan = SubscriptionSet::of("team", &table).unwrap();
        assert_eq!(plan.requests[2], "team.d.z");
        assert_eq!(plan.cancels[0], "_RR.cancel.team");
    }

    #[test]
    fn a_fallback_takes_the_prefix_and_needs_one() {
        let table = routes(&[Route::Fallback, Route::Target("a.x".into())]);
        assert!(SubscriptionSet::of("", &table).is_err());
        let plan = SubscriptionSet::of("team", &table).unwrap();
        assert_eq!(plan.requests, ["team.>"]);
        assert_eq!(plan.cancels, ["_RR.cancel.team", "_RR.cancel.team.>"]);
    }

    #[test]
    fn subjects_and_targets_go_both_ways() {
        let target = Target::try_from("svc.ping").unwrap();
        assert_eq!(subject_of("", &target), "svc.ping");
        assert_eq!(subject_of("team", &target), "team.svc.ping");
        assert_eq!(target_of("team", "team.svc.ping"), Some("svc.ping"));
        assert_eq!(target_of("team", "teams.svc"), None);
        assert_eq!(cancel_subject("", "svc"), "_RR.cancel.svc");
    }

    proptest! {
        #[test]
        fn tokens_round_trip(slot in any::<usize>(), secret in any::<u64>()) {
            let token = Token { slot, secret };
            let subject = token.subject("_INBOX.x");
            prop_assert_eq!(&subject, &format!("_INBOX.x.{slot:x}-{secret:016x}"));
            prop_assert_eq!(Token::parse(&subject["_INBOX.x.".len()..]), Some(token));
        }

        #[test]
        fn parsing_a_token_never_panics(text in "\\PC{0,40}") {
            let _ = Token::parse(&text);
        }
    }
}
