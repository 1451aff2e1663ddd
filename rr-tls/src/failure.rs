//! Errors of handshakes, in plain words and with a hint.

use std::borrow::Cow;
use std::io;

use rr_spi::{Code, Delivery, Error, Origin, Reason, excerpt};
use rustls::{AlertDescription, CertificateError, Error as TlsError, PeerIncompatible};
use rustls_pki_types::{ServerName, UnixTime};

use crate::verifier::{SelfSigned, is_of_authority};

/// Makes the error of a client for a handshake that failed: `Unavailable`, not sent,
/// `connect-failed`. The message names the cause, and the hint a remedy.
#[must_use]
pub fn connect_failed(authority: &str, source: io::Error) -> Error {
    let (cause, hint) = match of_rustls(&source) {
        Some(error) => explain(error),
        None if is_closed(&source) => (
            "the server closed the connection during the handshake".into(),
            "check that the server speaks TLS on this port, and whether it requires a client \
             certificate",
        ),
        None => (excerpt(&source.to_string(), 256).into(), "check the network and the server"),
    };
    let message = format!("no TLS connection to {authority}: {cause}");
    Error::failure(Code::Unavailable, Delivery::NotSent, Reason::CONNECT_FAILED, message)
        .with_hint(hint)
        .with_source(source)
}

/// Makes the error for a read from a connection whose handshake seemed complete, if it shows that
/// the server refused the client's certificate: `Unavailable`, rejected, `connect-failed`.
///
/// In TLS 1.3 a client completes its handshake before the server has seen its certificate, and may
/// have written a request by then. The server ends the handshake with an alert that is about
/// certificates, and never reads that request (RFC 8446 §4.4.2.4). Call this only for a connection
/// of TLS 1.3, and while nothing has been received on it: in TLS 1.2, a server may ask for a
/// certificate when it has read a request.
#[must_use]
pub fn refusal(authority: &str, error: &io::Error) -> Option<Error> {
    let TlsError::AlertReceived(alert) = of_rustls(error)? else { return None };
    let (cause, hint) = about_own_certificate(*alert)?;
    let message = format!("no TLS connection to {authority}: {cause}");
    let code = Code::Unavailable;
    let failure = Error::failure(code, Delivery::Rejected, Reason::CONNECT_FAILED, message);
    Some(failure.with_origin(Origin::Peer).with_hint(hint))
}

type Explained = (Cow<'static, str>, &'static str);

fn of_rustls(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}

/// Returns whether an error shows that the peer closed the connection, which is how some peers refuse
/// a handshake.
#[must_use]
pub fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}

fn explain(error: &TlsError) -> Explained {
    match error {
        TlsError::InvalidCertificate(cause) => about_certificate(cause),
        TlsError::InvalidMessage(_) => (
            "the server does not speak TLS on this port".into(),
            "use http://, or the port on which the server speaks TLS",
        ),
        TlsError::AlertReceived(alert) => match about_own_certificate(*alert) {
            Some((cause, hint)) => (cause.into(), hint),
            None => about_alert(*alert),
        },
        TlsError::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13) => {
            no_common_version()
        }
        TlsError::PeerIncompatible(_) => (
            format!("the two ends have no common parameters: {error}").into(),
            "check the versions and cipher suites that the server allows",
        ),
        TlsError::NoApplicationProtocol => no_common_protocol(),
        _ => {
            (excerpt(&error.to_string(), 256).into(), "check that the server speaks TLS 1.2 or 1.3")
        }
    }
}

fn about_certificate(error: &CertificateError) -> Explained {
    use CertificateError as E;
    match error {
        E::Expired => ("the server's certificate has expired".into(), RENEW),
        E::ExpiredContext { time, not_after } => (
            format!("the server's certificate expired {} ago", between(*not_after, *time)).into(),
            RENEW,
        ),
        E::NotValidYet => ("the server's certificate is not valid yet".into(), CLOCK),
        E::NotValidYetContext { time, not_before } => {
            let wait = between(*time, *not_before);
            (format!("the server's certificate is not valid yet, but in {wait}").into(), CLOCK)
        }
        E::Revoked => {
            ("the server's certificate is revoked".into(), "give the server a new certificate")
        }
        E::UnknownRevocationStatus => (
            "no revocation list covers the server's certificate".into(),
            "add the lists of every authority of its chain to `tls_crls`",
        ),
        E::NotValidForNameContext { expected, presented } => wrong_name(expected, presented),
        E::NotValidForName => ("the server's certificate is for another name".into(), NAME),
        E::UnknownIssuer => (
            "the issuer of the server's certificate is unknown".into(),
            "add the certificate of the issuer to `tls_roots`, or let the server send its \
             intermediate certificates",
        ),
        E::Other(other) if is_of_authority(other) => (
            "the server's certificate is that of an authority (CA:TRUE)".into(),
            "give the server a certificate that the authority has signed, or make a self-signed \
             one with `-addext basicConstraints=critical,CA:FALSE`",
        ),
        E::Other(other) if other.0.is::<SelfSigned>() => (
            "the server's certificate is self-signed".into(),
            "add it to `tls_roots`, or use a certificate of an authority that is trusted",
        ),
        other => (
            format!("the server's certificate is refused: {}", excerpt(&other.to_string(), 256))
                .into(),
            "check the certificate of the server",
        ),
    }
}

const RENEW: &str = "renew the certificate of the server, and check the clock of this host";
const CLOCK: &str = "check the clock of this host";
const NAME: &str = "use a name of the certificate in the URL, or set `tls_server_name`";

/// Maximum number of names of a certificate that a message lists.
const NAMES_MAX: usize = 8;

fn wrong_name(expected: &ServerName<'_>, presented: &[String]) -> Explained {
    let expected = expected.to_str();
    let names: Vec<_> = presented.iter().take(NAMES_MAX).map(|name| plain_name(name)).collect();
    let more = if presented.len() > NAMES_MAX { " and others" } else { "" };
    let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
    (format!("the server's certificate is for {names}{more}, not for {expected}").into(), NAME)
}

/// Returns the name in a text such as `DnsName("a")`, as rustls shows the names of a certificate.
fn plain_name(shown: &str) -> String {
    let inner = shown.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    excerpt(inner.unwrap_or(shown).trim_matches('"'), 128)
}

/// Explains an alert by which a server refuses the certificate of the client.
fn about_own_certificate(alert: AlertDescription) -> Option<(&'static str, &'static str)> {
    use AlertDescription as A;
    Some(match alert {
        A::CertificateRequired => {
            ("the server requires a client certificate", "set `tls_certificate` and `tls_key`")
        }
        A::CertificateExpired => (
            "the server refused the client certificate: it has expired, or is not valid yet",
            "renew `tls_certificate`, and check the clocks of both hosts",
        ),
        A::CertificateRevoked => {
            ("the server refused the client certificate: it is revoked", "renew `tls_certificate`")
        }
        A::UnknownCA => (
            "the server refused the client certificate: its issuer is unknown there",
            "use a certificate of an authority that the server trusts",
        ),
        A::BadCertificate | A::UnsupportedCertificate | A::CertificateUnknown => (
            "the server refused the client certificate, or requires one",
            "set `tls_certificate` and `tls_key` to a pair that the server trusts",
        ),
        _ => return None,
    })
}

fn about_alert(alert: AlertDescription) -> Explained {
    use AlertDescription as A;
    match alert {
        A::ProtocolVersion => no_common_version(),
        A::NoApplicationProtocol => no_common_protocol(),
        A::HandshakeFailure | A::InsufficientSecurity => (
            "the server found no common parameters, or requires a client certificate".into(),
            "check the versions and cipher suites that the server allows, and `tls_certificate`",
        ),
        A::AccessDenied => (
            "the server denied access to the client certificate".into(),
            "use a certificate to which the server gives access",
        ),
        A::UnrecognisedName => ("the server does not know the name of the URL".into(), NAME),
        other => (
            format!("the server ended the handshake with the alert {other:?}").into(),
            "the log of the server tells more",
        ),
    }
}

fn no_common_version() -> Explained {
    ("the two ends have no common version of TLS".into(), "let the server speak TLS 1.2 or 1.3")
}

fn no_common_protocol() -> Explained {
    (
        "the server speaks none of the versions of HTTP that were offered (ALPN)".into(),
        "leave out `version` in the URL, or enable that version at the server",
    )
}

/// Returns the time between two instants in the largest unit that fits.
fn between(from: UnixTime, to: UnixTime) -> String {
    let secs = to.as_secs().saturating_sub(from.as_secs());
    let (count, unit) = match secs {
        0..60 => (secs, "second"),
        60..3600 => (secs / 60, "minute"),
        3600..86_400 => (secs / 3600, "hour"),
        _ => (secs / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}
