//! Handshakes in memory: errors in plain words, and identities.

use std::io;

use rr_spi::{Code, Delivery, Error, PeerIdentity, Reason};
use rr_tls::{
    TlsAcceptor, TlsClientAuth, TlsConfig, TlsConnector, TlsServerConfig, connect_failed,
    peer_identity, refusal,
};
use rustls::{ClientConnection, Connection, ServerConnection};

use crate::authority::{Authority, Leaf, Pair};

/// Moves the bytes of one end to the other. An error is that of the receiving end.
fn pass(from: &mut Connection, to: &mut Connection) -> Result<bool, rustls::Error> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()?;
    }
    Ok(!bytes.is_empty())
}

/// Outcome of a handshake: the error of each end, and the identity that the server sees.
pub(crate) struct Outcome {
    pub(crate) client: Option<rustls::Error>,
    pub(crate) server: Option<rustls::Error>,
    pub(crate) identity: Option<PeerIdentity>,
    pub(crate) is_resumed: bool,
}

/// Runs a handshake until nothing is left to pass.
pub(crate) async fn shake(connector: &TlsConnector, acceptor: &TlsAcceptor) -> Outcome {
    let name = connector.server_name("orders.example").unwrap();
    let client = ClientConnection::new(connector.client_config().await, name).unwrap();
    let server = ServerConnection::new(acceptor.server_config()).unwrap();
    let (mut client, mut server) = (Connection::from(client), Connection::from(server));
    let (mut client_error, mut server_error) = (None, None);
    loop {
        let to_server = pass(&mut client, &mut server);
        let to_client = pass(&mut server, &mut client);
        let moved = matches!(to_server, Ok(true)) || matches!(to_client, Ok(true));
        server_error = server_error.or_else(|| to_server.err());
        client_error = client_error.or_else(|| to_client.err());
        if !moved {
            break;
        }
    }
    let handshake = client.handshake_kind();
    let is_resumed = handshake == Some(rustls::HandshakeKind::Resumed);
    let identity = peer_identity(&server);
    Outcome { client: client_error, server: server_error, identity, is_resumed }
}

pub(crate) fn server(pair: &Pair) -> TlsServerConfig {
    TlsServerConfig::default()
        .with_certificate(pair.certificate.as_str())
        .with_key(pair.key.as_str())
}

pub(crate) fn accepting(config: &TlsServerConfig) -> TlsAcceptor {
    TlsAcceptor::new(config, &[b"h2", b"http/1.1"]).unwrap()
}

pub(crate) fn connecting(config: &TlsConfig) -> TlsConnector {
    TlsConnector::new(config, &[b"h2", b"http/1.1"]).unwrap()
}

fn explained(error: rustls::Error) -> Error {
    let error = connect_failed("orders:1", io::Error::new(io::ErrorKind::InvalidData, error));
    assert_eq!((error.code(), error.delivery()), (Code::Unavailable, Delivery::NotSent));
    assert_eq!(error.reason(), Some(&Reason::CONNECT_FAILED));
    error
}

#[tokio::test]
async fn each_bad_certificate_of_a_server_is_explained() {
    let (authority, other) = (Authority::new("a"), Authority::new("b"));
    let leaf = || Leaf::new(&["orders.example"]);
    let trusting = TlsConfig::default().with_roots(authority.pem());
    let checking = trusting.clone().with_crls(authority.revoke(&[7]));
    let of_authority = leaf().authority().self_signed();
    let trusted = TlsConfig::default().with_roots(of_authority.certificate.as_str());
    let elsewhere = trusting.clone().with_crls(other.revoke(&[7]));
    let table = [
        (authority.sign(&leaf().years(2000, 2001)), &trusting, "expired", "renew"),
        (authority.sign(&leaf().years(3000, 3001)), &trusting, "not valid yet", "clock"),
        (authority.pair(&["a.example", "b.example"]), &trusting, NAMES, "tls_server_name"),
        (other.sign(&leaf()), &trusting, "issuer", "tls_roots"),
        (leaf().self_signed(), &trusting, "is self-signed", "tls_roots"),
        (of_authority.clone(), &trusting, "of an authority (CA:TRUE)", "CA:FALSE"),
        (of_authority, &trusted, "of an authority (CA:TRUE)", "CA:FALSE"),
        (authority.sign(&leaf().serial(7)), &checking, "is revoked", "new certificate"),
        (authority.sign(&leaf().serial(8)), &elsewhere, "no revocation list", "tls_crls"),
    ];
    for (pair, client, message, hint) in table {
        let outcome = shake(&connecting(client), &accepting(&server(&pair))).await;
        let error = explained(outcome.client.unwrap());
        assert!(error.message().starts_with("no TLS connection to orders:1: "), "{error}");
        assert!(error.message().contains(message), "{error}");
        assert!(error.hint().contains(hint), "{error}: {}", error.hint());
    }
    let good = authority.sign(&leaf().serial(8));
    let outcome = shake(&connecting(&checking), &accepting(&server(&good))).await;
    assert!(outcome.client.is_none(), "{:?}", outcome.client);
}

const NAMES: &str = "is for a.example, b.example, not for orders.example";

#[tokio::test]
async fn no_common_version_of_http_is_explained() {
    let authority = Authority::new("a");
    let client = TlsConfig::default().with_roots(authority.pem());
    let client = TlsConnector::new(&client, &[b"h2"]).unwrap();
    let pair = authority.pair(&["orders.example"]);
    let server = TlsAcceptor::new(&server(&pair), &[b"http/1.1"]).unwrap();
    let error = explained(shake(&client, &server).await.client.unwrap());
    assert!(error.message().contains("ALPN"), "{error}");
}

#[test]
fn plain_text_and_a_closed_connection_are_explained() {
    let text = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
    let error = explained(text);
    assert!(error.message().contains("does not speak TLS"), "{error}");
    assert!(error.hint().contains("http://"), "{}", error.hint());
    let error = connect_failed("a:1", io::ErrorKind::UnexpectedEof.into());
    assert!(error.message().contains("closed the connection during the handshake"), "{error}");
}

/// Client certificates: trusted, and not.
#[tokio::test]
async fn a_verified_client_has_an_identity_and_no_other_client_has() {
    let authority = Authority::new("a");
    let pair = authority.pair(&["orders.example"]);
    let mutual = |auth| server(&pair).with_client_auth(auth).with_client_roots(authority.pem());
    let anonymous = TlsConfig::default().with_roots(authority.pem());
    let with = |pair: &Pair| {
        let config = anonymous.clone().with_certificate(pair.certificate.as_str());
        connecting(&config.with_key(pair.key.as_str()))
    };
    let billing = authority.sign(&Leaf::new(&["billing"]).uri("spiffe://shop/billing"));
    let required = accepting(&mutual(TlsClientAuth::Required));
    let identity = shake(&with(&billing), &required).await.identity.unwrap();
    assert_eq!(identity.dns_names(), ["billing"]);
    assert_eq!(identity.spiffe_id(), Some("spiffe://shop/billing"));
    assert_eq!(identity.certificates().len(), 1);

    let refused = shake(&connecting(&anonymous), &required).await;
    assert!(refused.server.is_some() && refused.identity.is_none());
    let error = io::Error::new(io::ErrorKind::InvalidData, refused.client.unwrap());
    let error = refusal("orders:1", &error).unwrap();
    assert_eq!((error.code(), error.delivery()), (Code::Unavailable, Delivery::Rejected));
    assert!(error.message().contains("requires a client certificate"), "{error}");

    let stranger = Authority::new("b").pair(&["billing"]);
    let optional = accepting(&mutual(TlsClientAuth::Optional));
    let refused = shake(&with(&stranger), &optional).await;
    assert!(refused.server.is_some() && refused.identity.is_none());
    let error = io::Error::new(io::ErrorKind::InvalidData, refused.client.unwrap());
    assert!(refusal("orders:1", &error).unwrap().message().contains("issuer is unknown"));
    let accepted = shake(&connecting(&anonymous), &optional).await;
    assert!(accepted.server.is_none() && accepted.client.is_none());
    assert_eq!(accepted.identity, None);
}

#[test]
fn other_errors_of_a_connection_are_no_refusal() {
    let reset = io::Error::from(io::ErrorKind::ConnectionReset);
    assert!(refusal("a:1", &reset).is_none());
    let alert = rustls::Error::AlertReceived(rustls::AlertDescription::InternalError);
    assert!(refusal("a:1", &io::Error::other(alert)).is_none());
}
