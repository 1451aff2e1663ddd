//! What the server's permission errors are about.
//!
//! The protocol has them as text alone, without a reference to the operation: this is the one
//! place that reads it. The forms are those of nats-server 2.9 to 2.15.

/// An operation that the server denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Violation<'a> {
    /// Publishing to this subject.
    Publish(&'a str),
    /// Publishing anything with this reply subject.
    Reply(&'a str),
    /// Subscribing to this subject.
    Subscribe(&'a str),
}

impl<'a> Violation<'a> {
    /// Reads the text of an error; `None` when it is about something else.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let rest = text.trim().strip_prefix("Permissions Violation for ")?;
        let (operation, quoted) = rest.split_once('"')?;
        let (subject, _) = quoted.split_once('"')?;
        match operation {
            "Publish to " => Some(Self::Publish(subject)),
            "Publish with Reply of " => Some(Self::Reply(subject)),
            "Subscription to " => Some(Self::Subscribe(subject)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form_of_the_server_is_read() {
        for (text, expected) in [
            (r#"Permissions Violation for Publish to "a.b""#, Violation::Publish("a.b")),
            (r#"Permissions Violation for Publish with Reply of "r""#, Violation::Reply("r")),
            (r#"Permissions Violation for Subscription to "a.*""#, Violation::Subscribe("a.*")),
            (
                r#"Permissions Violation for Subscription to "a" using queue "q" (sid "4")"#,
                Violation::Subscribe("a"),
            ),
        ] {
            assert_eq!(Violation::parse(text), Some(expected));
        }
        assert_eq!(Violation::parse("Maximum Payload Violation"), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "(Permissions Violation for Publish to )?\\PC{0,30}") {
            let _ = Violation::parse(&text);
        }
    }
}
