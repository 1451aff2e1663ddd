//! What a configuration accepts and shows.

use rr_spi::{Code, Delivery, Error, IntakeConfig, Location};
use rr_tls::{
    Pem, TlsAcceptor, TlsClientAuth, TlsConfig, TlsConnector, TlsServerConfig, check_url,
};

use crate::authority::Authority;
use crate::directory::Directory;

#[test]
fn files_and_urls_set_the_same_options() {
    let file = r#"{"roots": "/ca.pem", "server_name": "orders"}"#;
    let of_file: TlsConfig = serde_json::from_str(file).unwrap();
    let location = Location::parse("x://h?tls_roots=/ca.pem&tls_server_name=orders").unwrap();
    let (of_url, _) = location.configure(TlsConfig::default(), IntakeConfig::default()).unwrap();
    assert_eq!(of_file, of_url);
    assert_eq!(of_url.roots, Pem::from("/ca.pem"));

    let url = "x://h?tls_client_auth=optional&tls_handshakes_max=3&tls_reload_interval=2s";
    let location = Location::parse(url).unwrap();
    let (_, server) = location.configure(TlsConfig::default(), TlsServerConfig::default()).unwrap();
    assert_eq!(server.client_auth, TlsClientAuth::Optional);
    let location = Location::parse("x://h?tls_client_auth=maybe").unwrap();
    let error = location.configure(TlsConfig::default(), TlsServerConfig::default()).unwrap_err();
    assert!(error.hint().contains("`none` or `optional` or `required`"), "{}", error.hint());
}

/// Asserts that no line of a key is in a text.
fn assert_hides(key: &str, shown: &str) {
    let secrets = key.lines().filter(|line| !line.starts_with("-----"));
    for secret in secrets {
        assert!(!shown.contains(&secret[..secret.len().min(16)]), "{shown}");
    }
}

fn shown(error: &Error) -> String {
    format!("{error} {error:?} {}", error.hint())
}

#[test]
fn no_key_is_in_a_debug_text_or_an_error() {
    let authority = Authority::new("a");
    let (pair, other) = (authority.pair(&["a"]), authority.pair(&["b"]));
    let client = TlsConfig::default()
        .with_certificate(pair.certificate.clone())
        .with_key(pair.key.clone())
        .with_roots(authority.pem());
    let server = TlsServerConfig::default()
        .with_certificate(pair.certificate.clone())
        .with_key(pair.key.clone());
    let connector = TlsConnector::new(&client, &[]).unwrap();
    let acceptor = TlsAcceptor::new(&server, &[]).unwrap();
    assert_hides(&pair.key, &format!("{client:?} {server:?} {connector:?} {acceptor:?}"));

    let broken = [
        other.key,
        pair.key.replace("-----END", "-----"),
        pair.key.replace("KEY-----\n", "KEY-----\n!"),
        pair.key.replacen('M', "", 1),
        format!("{}junk", &pair.key[..60]),
        // A key where a certificate belongs.
        pair.certificate.clone(),
    ];
    for key in broken {
        let error = TlsAcceptor::new(&server.clone().with_key(key.as_str()), &[]).unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::InvalidArgument, Delivery::NotSent));
        assert_hides(&pair.key, &shown(&error));
        assert_hides(&key, &shown(&error));
    }
    let error = TlsAcceptor::new(&server.with_certificate(pair.key.as_str()), &[]).unwrap_err();
    assert_hides(&pair.key, &shown(&error));
}

#[test]
fn a_key_is_hidden_in_every_form_in_which_it_may_be_given() {
    let pair = Authority::new("a").pair(&["a"]);
    let body: String = pair.key.lines().filter(|line| !line.starts_with('-')).collect();
    let forms = [
        (format!("Bag Attributes\n    localKeyID: 01\n{}", pair.key), true),
        (format!("# key of orders\n{}", pair.key), true),
        (format!("\u{feff}{}", pair.key), true),
        (format!("\n  {}", pair.key.trim_start()), false),
        (pair.key.replace('\n', " "), false),
        (pair.key.replace('\n', "\\n"), false),
        (format!("LS0tLS1CRUdJTiBQUklWQVRF{body}"), false),
        (body.clone(), false),
        (body.replace('+', ".").repeat(3).replace('/', "."), false),
    ];
    let whole = TlsServerConfig::default().with_certificate(pair.certificate.as_str());
    for (form, is_usable) in forms {
        let config = whole.clone().with_key(form.as_str());
        assert_eq!(Pem::from(form.as_str()).path(), None, "{form}");
        assert_hides(&body, &format!("{config:?}"));
        match TlsAcceptor::new(&config, &[]) {
            Ok(_) => assert!(is_usable, "{form}"),
            Err(error) => {
                assert!(!is_usable, "{form}: {error}");
                assert_hides(&body, &shown(&error));
                assert!(error.hint().contains("-----BEGIN"), "{}", error.hint());
            }
        }
        let escaped: String = form.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let location = Location::parse(&format!("x://h?tls_key={escaped}")).unwrap();
        let error = check_url(&location).unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::InvalidArgument, Delivery::NotSent));
        assert_hides(&body, &shown(&error));
    }
    for path in ["tls.key", "./tls.key", "/run/secrets/tls/key", r"C:\keys\tls.key"] {
        assert!(Pem::from(path).path().is_some(), "{path}");
        assert!(check_url(&Location::parse("x://h?tls_key=/run/key").unwrap()).is_ok());
    }
}

#[test]
fn what_is_missing_or_cannot_be_used_is_named_with_its_file() {
    let authority = Authority::new("a");
    let (pair, directory) = (authority.pair(&["a"]), Directory::new());
    let garbage = directory.write("garbage.pem", "no certificate\n");
    let absent = directory.path("absent.pem");
    let server = TlsServerConfig::default();
    let whole =
        server.clone().with_certificate(pair.certificate.as_str()).with_key(pair.key.as_str());
    let required = whole.clone().with_client_auth(TlsClientAuth::Required);
    let refused = [
        (server.clone(), "needs a certificate", "tls_certificate"),
        (server.with_key(pair.key.as_str()), "`tls_key` is given without", "set both"),
        (whole.clone().with_key(""), "`tls_certificate` is given without", "set both"),
        (whole.clone().with_certificate(garbage.clone()), "garbage.pem", "-----BEGIN"),
        (whole.clone().with_certificate(absent.clone()), "absent.pem", "path"),
        (whole.with_key(garbage.clone()), "no private key", "-----BEGIN"),
        (required.clone(), "nothing verifies them", "tls_client_roots"),
        (required.with_client_roots(garbage.clone()), "tls_client_roots", "-----BEGIN"),
    ];
    for (config, message, hint) in refused {
        let error = TlsAcceptor::new(&config, &[]).unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::InvalidArgument, Delivery::NotSent));
        assert!(error.message().contains(message), "{error}");
        assert!(error.hint().contains(hint), "{error}: {}", error.hint());
    }
    let roots = TlsConfig::default().with_roots(authority.pem());
    for config in [
        roots.clone().with_roots(garbage.clone()),
        roots.clone().with_crls(garbage),
        roots.clone().with_key(absent.clone()),
        roots.clone().with_server_name("no name"),
        roots.with_certificate(pair.certificate).with_key(absent),
    ] {
        let error = TlsConnector::new(&config, &[]).unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        assert!(!error.hint().is_empty(), "{error}");
    }
}

#[test]
fn hosts_are_names_or_addresses() {
    let config = TlsConfig::default().with_roots(Authority::new("a").pem());
    let connector = TlsConnector::new(&config, &[]).unwrap();
    for host in ["orders", "orders.example", "127.0.0.1", "::1", "fe80::1%eth0"] {
        assert!(connector.server_name(host).is_ok(), "{host}");
    }
    assert_eq!(connector.server_name("a b").unwrap_err().delivery(), Delivery::NotSent);
    let named = TlsConnector::new(&config.with_server_name("orders"), &[]).unwrap();
    assert_eq!(named.server_name("127.0.0.1").unwrap().to_str(), "orders");
}
