//! Files that change.

use std::time::Duration;

use rr_tls::{TlsClientAuth, TlsConfig, TlsServerConfig};

use crate::authority::{Authority, Leaf, Pair};
use crate::directory::Directory;
use crate::handshake::{accepting, connecting, server, shake};

fn write(directory: &Directory, pair: &Pair) -> TlsServerConfig {
    TlsServerConfig::default()
        .with_certificate(directory.write("tls.crt", &pair.certificate))
        .with_key(directory.write("tls.key", &pair.key))
}

#[tokio::test]
async fn a_changed_certificate_is_used_and_garbage_leaves_the_old_one() {
    let (authority, directory) = (Authority::new("a"), Directory::new());
    let acceptor = accepting(&write(&directory, &authority.pair(&["old.example"])));
    assert!(!acceptor.reload().unwrap(), "nothing has changed");
    let client = TlsConfig::default().with_roots(authority.pem());
    let shaken = async |name: &str| {
        let client = connecting(&client.clone().with_server_name(name));
        shake(&client, &acceptor).await.client.is_none()
    };
    directory.write("tls.crt", "garbage");
    let error = acceptor.reload().unwrap_err();
    assert!(error.message().contains("tls.crt"), "{error}");
    assert!(!acceptor.reload().unwrap(), "each change is told once");
    assert_eq!(acceptor.last_reload_error().unwrap().message(), error.message());
    assert!(shaken("old.example").await);

    // Between two writes of a rotation, the key does not fit.
    let new = authority.pair(&["new.example"]);
    directory.write("tls.crt", &new.certificate);
    assert!(acceptor.reload().is_err());
    assert!(shaken("old.example").await);
    directory.write("tls.key", &new.key);
    assert!(acceptor.reload().unwrap());
    assert!(acceptor.last_reload_error().is_none());
    assert!(shaken("new.example").await && !shaken("old.example").await);

    std::fs::remove_file(directory.path("tls.key")).unwrap();
    assert!(acceptor.reload().is_err());
    assert!(shaken("new.example").await);
}

#[tokio::test]
async fn a_resumed_session_does_not_outlive_the_roots_that_verified_it() {
    let (authority, directory) = (Authority::new("a"), Directory::new());
    let pair = authority.pair(&["orders.example"]);
    let roots = directory.write("clients.pem", &authority.pem());
    let config = server(&pair).with_client_auth(TlsClientAuth::Required).with_client_roots(roots);
    let acceptor =
        accepting(&config.with_client_crls(directory.write("crls.pem", &authority.revoke(&[8]))));
    let own = authority.sign(&Leaf::new(&["client"]).serial(7));
    let client = TlsConfig::default().with_roots(authority.pem());
    let client = connecting(&client.with_certificate(own.certificate).with_key(own.key));
    assert!(!shake(&client, &acceptor).await.is_resumed);
    let resumed = shake(&client, &acceptor).await;
    assert!(resumed.is_resumed && resumed.identity.is_some());

    directory.write("crls.pem", &authority.revoke(&[7]));
    assert!(acceptor.reload().unwrap());
    let revoked = shake(&client, &acceptor).await;
    assert!(!revoked.is_resumed && revoked.server.is_some() && revoked.identity.is_none());

    directory.write("crls.pem", &authority.revoke(&[8]));
    assert!(acceptor.reload().unwrap());
    assert!(shake(&client, &acceptor).await.server.is_none());
    directory.write("clients.pem", &Authority::new("b").pem());
    // The lists of the old authority stay; they cover nothing.
    assert!(acceptor.reload().unwrap());
    assert!(shake(&client, &acceptor).await.server.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_client_reads_its_files_again_at_most_once_a_second() {
    let (authority, directory) = (Authority::new("a"), Directory::new());
    let pair = authority.pair(&["orders.example"]);
    let config = server(&pair).with_client_auth(TlsClientAuth::Required);
    let acceptor = accepting(&config.with_client_roots(authority.pem()));
    let own = |name: &str| {
        let own = authority.pair(&[name]);
        (directory.write("own.crt", &own.certificate), directory.write("own.key", &own.key))
    };
    let (certificate, key) = own("first");
    let client = TlsConfig::default().with_roots(authority.pem());
    let client = connecting(&client.with_certificate(certificate).with_key(key));
    let name = async || shake(&client, &acceptor).await.identity.unwrap().dns_names().to_vec();
    assert_eq!(name().await, ["first"]);
    own("second");
    assert_eq!(name().await, ["first"], "within a second of the last check");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(name().await, ["second"]);
    directory.write("own.key", "garbage");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(name().await, ["second"]);
    assert!(client.last_reload_error().unwrap().message().contains("own.key"));
}

#[tokio::test(start_paused = true)]
async fn a_server_follows_its_files() {
    let (authority, directory) = (Authority::new("a"), Directory::new());
    let config = write(&directory, &authority.pair(&["old.example"]));
    let acceptor = accepting(&config.with_reload_interval(Duration::from_secs(5)));
    let before = acceptor.server_config();
    write(&directory, &authority.pair(&["new.example"]));
    let following = acceptor.clone();
    let follower = tokio::spawn(async move { following.follow_files().await });
    let changed = async {
        while std::sync::Arc::ptr_eq(&before, &acceptor.server_config()) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), changed).await.unwrap();
    follower.abort();
}
