//! Nkeys, JWTs and auth callbacks: accepted, refused, renewed, and never shown.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::operator::{Operator, TestFile, User};
use crate::support::*;
use nkeys::KeyPair;
use rr_nats::{
    NatsAuth, NatsConfig, NatsConnectionConfig, NatsCredentials, NatsRequester, NatsServerConfig,
    NatsState, serve, serve_with,
};
use rr_spi::{Code, Delivery, Error, Reason, Requester, Response, Server};
use rr_testkit::{NatsServer, NatsServerSetup};

const REFUSED: (Code, Delivery) = (Code::Unauthenticated, Delivery::NotSent);

fn nkey_setup(keys: &[&KeyPair]) -> NatsServerSetup {
    let users: Vec<_> = keys.iter().map(|key| format!("{{nkey: {}}}", key.public_key())).collect();
    let users = users.join(", ");
    NatsServerSetup::default().with_lines(&format!("authorization {{ users: [{users}] }}"))
}

fn seed(key: &KeyPair) -> String {
    key.seed().unwrap()
}

fn connection(credentials: NatsCredentials) -> NatsConnectionConfig {
    NatsConnectionConfig::default()
        .with_credentials(credentials)
        .with_reconnect_delay_max(Duration::from_millis(100))
}

async fn requester(nats: &NatsServer, credentials: NatsCredentials) -> NatsRequester {
    let config = NatsConfig::default().with_connection(connection(credentials));
    let config = config.with_connection_wait(Duration::from_secs(60));
    NatsRequester::connect_with(&nats.url(), config).await.unwrap()
}

async fn echo_server(nats: &NatsServer, credentials: NatsCredentials) -> Server {
    let config = NatsServerConfig::default().with_connection(connection(credentials));
    serve_with(&nats.url(), route("svc.echo", echo), config).await.unwrap()
}

/// Waits for longer than any refusal may take.
async fn refusal(client: &NatsRequester) -> Error {
    client.ready(&within(60_000)).await.unwrap_err()
}

fn told(error: &Error) -> (Code, Delivery) {
    (error.code(), error.delivery())
}

/// Returns a callback that makes a new JWT for each connection, and the number of its calls.
fn renewing(operator: &Arc<Operator>, valid: Duration) -> (NatsCredentials, Arc<Count>) {
    let (operator, calls) = (Arc::clone(operator), Count::new());
    let counted = Arc::clone(&calls);
    let credentials = NatsCredentials::callback(move |nonce| {
        let user = operator.user(Some(valid));
        counted.up();
        async move { NatsAuth::default().with_jwt(user.jwt).signed(&user.seed, &nonce) }
    });
    (credentials, calls)
}

#[tokio::test]
async fn both_ends_authenticate_by_nkey_and_by_a_file_that_holds_it() {
    let (caller, service) = (KeyPair::new_user(), KeyPair::new_user());
    let nats = nats_with(&nkey_setup(&[&caller, &service])).await;
    let _server = echo_server(&nats, NatsCredentials::Nkey(seed(&service))).await;
    let file = TestFile::new("caller.nk", &format!("{}\n", seed(&caller)));
    let client = client(&file.url(nats.address(), "nkey_file")).await;
    call(&client, &within(5000), "svc.echo").await.unwrap();
}

#[tokio::test]
async fn an_nkey_that_the_server_does_not_know_is_a_refusal_until_it_does() {
    let (caller, other) = (KeyPair::new_user(), KeyPair::new_user());
    let nats = nats_with(&nkey_setup(&[&other])).await;
    let client = requester(&nats, NatsCredentials::Nkey(seed(&caller))).await;
    let error = refusal(&client).await;
    assert_eq!(told(&error), REFUSED);
    assert!(error.hint().contains("public key"), "{}", error.hint());
    let url = nats.url();
    let served = serve_with(
        &url,
        route("svc.echo", echo),
        NatsServerConfig::default()
            .with_connection(connection(NatsCredentials::Nkey(seed(&caller)))),
    );
    assert_eq!(told(&served.await.unwrap_err()), REFUSED);
    nats.reload(&nkey_setup(&[&caller])).unwrap();
    reaches(&client, NatsState::Connected).await;
}

async fn reaches(client: &NatsRequester, wanted: NatsState) {
    let reached = async {
        let mut state = client.state();
        while state != wanted {
            state = client.state_changed(state).await;
        }
    };
    within(10_000).race(reached).await.unwrap();
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_told_at_once_by_its_path_and_not_by_what_it_holds() {
    let nats = nats().await;
    let account = seed(&KeyPair::new_account());
    let file = TestFile::new("unfit.creds", "");
    for (text, what) in [
        (String::new(), "JWT"),
        (account.clone(), "JWT"),
        (
            User { jwt: "e.y.J".into(), seed: account.clone(), public_key: String::new() }
                .credentials(),
            "not that of a user",
        ),
        (
            User { jwt: "e.y.J".into(), seed: "SUNKEN".into(), public_key: String::new() }
                .credentials(),
            "seed is invalid",
        ),
        ("x".repeat(70_000), "64 KiB"),
    ] {
        file.replace(&text);
        let url = file.url(nats.address(), "credentials_file");
        let error = refusal(&NatsRequester::connect(&url).await.unwrap()).await;
        assert_eq!(told(&error), (Code::FailedPrecondition, Delivery::NotSent), "{error}");
        assert!(error.message().contains(what), "{error}");
        assert!(error.message().contains("unfit.creds"), "{error}");
        assert!(!error.hint().is_empty());
        let shown = format!("{error:?} {error}");
        assert!(!shown.contains(&account) && !shown.contains("SUNKEN"), "{shown}");
    }
    for (path, what) in [("/no/such/file", "No such file"), ("/dev/null", "regular file")] {
        let url = format!("{}?nkey_file={path}", nats.url());
        let error = serve(&url, route("svc.echo", echo)).await.unwrap_err();
        assert_eq!(told(&error), (Code::FailedPrecondition, Delivery::NotSent), "{error}");
        assert!(error.message().contains(what) && error.message().contains(path), "{error}");
    }
}

#[tokio::test]
async fn a_credentials_file_is_read_again_for_each_connection() {
    let operator = Operator::new();
    let mut nats = nats_with(&operator.setup(&[])).await;
    let forever = operator.user(None);
    let file = TestFile::new("renewed.creds", &forever.credentials());
    let service = TestFile::new("service.creds", &operator.user(None).credentials());
    let _server = serve(&service.url(nats.address(), "credentials_file"), route("svc.echo", echo))
        .await
        .unwrap();
    let client = client(&file.url(nats.address(), "credentials_file")).await;
    call(&client, &within(5000), "svc.echo").await.unwrap();
    // An expired JWT, and then one of another user.
    file.replace(&operator.user(Some(Duration::ZERO)).credentials());
    nats.restart().await.unwrap();
    reaches(&client, NatsState::Refused).await;
    let error = refusal(&client).await;
    assert_eq!(told(&error), REFUSED);
    assert!(error.hint().contains("expired"), "{}", error.hint());
    file.replace(&operator.user(None).credentials());
    reaches(&client, NatsState::Connected).await;
}

#[tokio::test]
async fn a_user_that_is_revoked_is_refused_at_its_next_connection() {
    let operator = Operator::new();
    let mut nats = nats_with(&operator.setup(&[])).await;
    let user = operator.user(None);
    let file = TestFile::new("revoked.creds", &user.credentials());
    let client = client(&file.url(nats.address(), "credentials_file")).await;
    nats.reload(&operator.setup(&[&user])).unwrap();
    nats.restart().await.unwrap();
    reaches(&client, NatsState::Refused).await;
    let error = call(&client, &within(60_000), "svc.echo").await.unwrap_err();
    assert_eq!(told(&error), REFUSED);
    assert!(error.hint().contains("revoked"), "{}", error.hint());
}

#[tokio::test]
async fn the_message_limit_of_an_account_is_asked_for_with_its_jwt() {
    let operator = Operator::new();
    let nats = nats_with(&operator.setup(&[])).await;
    let file = TestFile::new("limited.creds", &operator.user(None).credentials());
    let client = client(&file.url(nats.address(), "credentials_file")).await;
    // The limit of the account is 8192 bytes; the server announces 1 MiB to all.
    let told = async {
        loop {
            let error = client.request(&within(5000), request("svc.echo", vec![0; 9000])).await;
            if error.unwrap_err().message().contains("takes 8192 at most") {
                return;
            }
        }
    };
    within(10_000).race(told).await.unwrap();
}

#[tokio::test]
async fn jwts_that_expire_every_two_seconds_are_renewed_by_callbacks_and_no_call_hears_a_lie() {
    let operator = Arc::new(Operator::new());
    let nats = nats_with(&operator.setup(&[])).await;
    let ran: Arc<Mutex<HashSet<u64>>> = Arc::default();
    let runs = Arc::clone(&ran);
    let (credentials, served) = renewing(&operator, Duration::from_secs(2));
    let config = NatsServerConfig::default().with_connection(connection(credentials));
    let handler = move |_, request: rr_spi::Request| {
        runs.lock().unwrap().insert(request.body.len() as u64);
        async { Ok(Response::new("done")) }
    };
    let _server = serve_with(&nats.url(), route("svc.count", handler), config).await.unwrap();
    let (credentials, called) = renewing(&operator, Duration::from_secs(2));
    let client = requester(&nats, credentials).await;
    let renewed = async {
        called.reaches(3).await;
        served.reaches(3).await;
    };
    let mut answered = 0;
    let calls = async {
        for number in 1.. {
            let body = vec![0; number];
            match client.request(&within(5000), request("svc.count", body)).await {
                Ok(_) => answered += 1,
                Err(error) => {
                    let proved =
                        [Delivery::NotSent, Delivery::Rejected].contains(&error.delivery());
                    let has_run = ran.lock().unwrap().contains(&(number as u64));
                    assert!(!(proved && has_run), "{number}: {error:?}");
                }
            }
            // Lengths stay below the limit of the account.
            if number >= 8000 {
                break;
            }
            tokio::task::yield_now().await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        () = renewed => {}
        () = calls => {}
    }
    // Both ends have new JWTs: calls go on.
    let mut outcome = client.request(&within(5000), request("svc.count", "x")).await;
    while outcome.as_ref().is_err_and(|error| error.code() == Code::Unavailable) {
        outcome = client.request(&within(5000), request("svc.count", "x")).await;
    }
    outcome.unwrap();
    assert!(answered > 100, "{answered}");
}

#[tokio::test]
async fn a_callback_that_fails_panics_or_hangs_is_told_within_the_time_of_a_connection() {
    let nats = nats().await;
    let refusing = || {
        NatsCredentials::callback(|_| async {
            Err(Error::new(Code::PermissionDenied, "the vault says no"))
        })
    };
    let error = refusal(&requester(&nats, refusing()).await).await;
    assert_eq!(told(&error), (Code::PermissionDenied, Delivery::NotSent), "{error}");
    assert!(error.message().contains("auth callback failed: the vault says no"), "{error}");

    let failing = NatsCredentials::callback(|_| async { Err(Error::new(Code::Internal, "oops")) });
    let panicking = NatsCredentials::callback(|_| async { panic!("within the callback") });
    let at_once = NatsCredentials::callback(|_| -> std::future::Ready<_> { panic!("at once") });
    let hanging = NatsCredentials::callback(|_| std::future::pending());
    // Printing the backtrace of a panic takes its time.
    for (credentials, timeout, what) in [
        (failing, 10_000, "auth callback failed: oops"),
        (panicking, 10_000, "panicked"),
        (at_once, 10_000, "panicked"),
        (hanging, 200, "`connect_timeout`"),
    ] {
        let timeout = Duration::from_millis(timeout);
        let connection = connection(credentials).with_connect_timeout(timeout);
        let config = NatsServerConfig::default().with_connection(connection);
        let url = nats.url();
        let served = serve_with(&url, route("svc.echo", echo), config);
        let error = within(20_000).race(served).await.unwrap().unwrap_err();
        assert_eq!(told(&error), (Code::Unavailable, Delivery::NotSent), "{error}");
        assert_eq!(error.reason(), Some(&Reason::CONNECT_FAILED));
        assert!(error.message().contains(what), "{error}");
        assert!(error.hint().contains("auth callback"), "{}", error.hint());
    }
}

#[tokio::test]
async fn a_callback_that_fails_once_is_asked_again() {
    let setup = NatsServerSetup::default().with_lines("authorization { token: t0ken }");
    let nats = nats_with(&setup).await;
    let asked = AtomicUsize::new(0);
    let credentials = NatsCredentials::callback(move |_| {
        let first = asked.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            match first {
                true => Err(Error::new(Code::Unavailable, "not yet")),
                false => Ok(NatsAuth::default().with_token("t0ken")),
            }
        }
    });
    let client = requester(&nats, credentials).await;
    client.ready(&within(10_000)).await.unwrap();
}

#[tokio::test]
async fn neither_configurations_nor_errors_show_a_secret() {
    const SECRET: &str = "PLANTED";
    let operator = Operator::new();
    let nats = nats_with(&operator.setup(&[])).await;
    let user = operator.user(Some(Duration::ZERO));
    let file = TestFile::new("secret.creds", &user.credentials());
    let callback = user.clone();
    let auth = NatsAuth::default()
        .with_user("u", SECRET)
        .with_token(SECRET)
        .with_jwt(SECRET)
        .with_signature(SECRET);
    let mut shown = vec![format!("{auth:?}")];
    let user_password =
        NatsCredentials::UserPassword { user: "u".to_owned(), password: SECRET.to_owned() };
    for credentials in [
        user_password,
        NatsCredentials::Token(SECRET.to_owned()),
        NatsCredentials::Nkey(SECRET.to_owned()),
        NatsCredentials::Nkey(user.seed.clone()),
        NatsCredentials::CredentialsFile(file.0.clone()),
        NatsCredentials::NkeyFile(file.0.clone()),
        NatsCredentials::callback(move |nonce| {
            let user = callback.clone();
            async move { NatsAuth::default().with_jwt(user.jwt).signed(&user.seed, &nonce) }
        }),
    ] {
        let config = NatsServerConfig::default().with_connection(connection(credentials.clone()));
        shown.push(format!(
            "{config:?} {:?}",
            NatsConfig::default().with_connection(config.connection.clone())
        ));
        let error = serve_with(&nats.url(), route("svc.echo", echo), config).await.unwrap_err();
        shown.push(format!("{error:?} {error} {} {}", error.message(), error.hint()));
        let client = requester(&nats, credentials).await;
        let error = refusal(&client).await;
        shown.push(format!("{error:?} {error} {:?}", client.last_error()));
    }
    for secret in [SECRET, &user.jwt, &user.seed] {
        let leak = shown.iter().find(|text| text.contains(secret));
        assert_eq!(leak, None, "{secret}");
    }
}
