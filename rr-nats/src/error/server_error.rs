//! Parser for errors of the NATS server.
//!
//! The protocol sends errors as text only, without a reference to the operation. This is the only
//! module that reads the text. The forms are those of nats-server 2.9 to 2.15.

/// Operation that the server denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation<'a> {
    /// Publishing to this subject.
    Publish(&'a str),
    /// Publishing anything with this reply subject.
    Reply(&'a str),
    /// Subscribing to this subject.
    Subscribe(&'a str),
}

impl<'a> Violation<'a> {
    /// Parses the text of an error; `None` if it is not a permission violation.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
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

/// Reason that a server gives, as text, for refusing or ending a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerErrorKind {
    /// The credentials are wrong, missing, expired or revoked.
    Credentials,
    /// The server has headers disabled.
    Headers,
    /// The server requires TLS.
    Tls,
    /// A protocol line is longer than the server accepts.
    ControlLine,
    /// The server has reached its limit of connections.
    Connections,
    /// A message is longer than the server accepts from this user or account.
    Payload,
    /// Something else.
    Other,
}

impl ServerErrorKind {
    /// Classifies the text of an error.
    pub(crate) fn parse(text: &str) -> Self {
        const KINDS: [(&str, ServerErrorKind); 7] = [
            ("authorization", ServerErrorKind::Credentials),
            ("authentication", ServerErrorKind::Credentials),
            ("headers support", ServerErrorKind::Headers),
            ("tls", ServerErrorKind::Tls),
            ("control line", ServerErrorKind::ControlLine),
            ("connections exceeded", ServerErrorKind::Connections),
            ("maximum payload", ServerErrorKind::Payload),
        ];
        let text = text.to_ascii_lowercase();
        let kind = KINDS.iter().find(|(words, _)| text.contains(words));
        kind.map_or(Self::Other, |(_, kind)| *kind)
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

    #[test]
    fn errors_of_the_server_are_classified() {
        for (text, expected) in [
            ("Authorization Violation", ServerErrorKind::Credentials),
            ("User Authentication Expired", ServerErrorKind::Credentials),
            ("no responders requires headers support", ServerErrorKind::Headers),
            ("Secure Connection - TLS Required", ServerErrorKind::Tls),
            ("maximum control line exceeded", ServerErrorKind::ControlLine),
            ("maximum connections exceeded", ServerErrorKind::Connections),
            ("maximum account active connections exceeded", ServerErrorKind::Connections),
            ("Maximum Payload Violation", ServerErrorKind::Payload),
            ("Stale Connection", ServerErrorKind::Other),
        ] {
            assert_eq!(ServerErrorKind::parse(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "(Permissions Violation for Publish to )?\\PC{0,30}") {
            let _ = Violation::parse(&text);
            let _ = ServerErrorKind::parse(&text);
        }
    }
}
