//! An operator and an account, which sign the JWTs of users (operator mode of nats-server).

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use rr_testkit::NatsServerSetup;
use serde_json::{Value, json};

/// An operator with one account.
pub struct Operator {
    operator: KeyPair,
    account: KeyPair,
}

/// A user of the account: its JWT and its seed.
#[derive(Clone)]
pub struct User {
    pub jwt: String,
    pub seed: String,
    pub public_key: String,
}

impl Operator {
    pub fn new() -> Self {
        Self { operator: KeyPair::new_operator(), account: KeyPair::new_account() }
    }

    /// The configuration of a server that knows the account; the account revokes the JWTs of these
    /// users.
    pub fn setup(&self, revoked: &[&User]) -> NatsServerSetup {
        let operator = json!({"type": "operator", "version": 2});
        let operator = signed(&self.operator, &self.operator.public_key(), None, &operator);
        let now = unix(Duration::ZERO);
        let revocations = revoked.iter().map(|user| (user.public_key.clone(), json!(now)));
        let account = json!({
            "type": "account", "version": 2,
            "revocations": revocations.collect::<serde_json::Map<_, _>>(),
            "limits": {"subs": -1, "data": -1, "payload": 8192, "imports": -1, "exports": -1,
                       "wildcards": true, "conn": -1, "leaf": -1},
        });
        let id = self.account.public_key();
        let account = signed(&self.operator, &id, None, &account);
        NatsServerSetup::default().with_lines(&format!(
            "operator: {operator}\nresolver: MEMORY\nresolver_preload: {{ {id}: {account} }}"
        ))
    }

    /// A user whose JWT is valid for this time, or forever.
    pub fn user(&self, valid: Option<Duration>) -> User {
        let key = KeyPair::new_user();
        let user = json!({"type": "user", "version": 2, "pub": {}, "sub": {},
                          "subs": -1, "data": -1, "payload": -1});
        let jwt = signed(&self.account, &key.public_key(), valid, &user);
        User { jwt, seed: key.seed().unwrap(), public_key: key.public_key() }
    }
}

impl User {
    /// The contents of a credentials file.
    pub fn credentials(&self) -> String {
        format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            self.jwt, self.seed
        )
    }
}

fn signed(issuer: &KeyPair, subject: &str, valid: Option<Duration>, claims: &Value) -> String {
    let mut body = json!({"jti": "test", "iat": unix(Duration::ZERO) - 60, "iss": issuer.public_key(),
                          "name": "test", "sub": subject, "nats": claims});
    if let Some(valid) = valid {
        body["exp"] = json!(unix(valid));
    }
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text =
        format!("{}.{}", encode(&json!({"typ": "JWT", "alg": "ed25519-nkey"})), encode(&body));
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(text.as_bytes()).unwrap());
    format!("{text}.{signature}")
}

/// Seconds of the wall clock, so much from now: JWTs expire by it.
#[allow(clippy::disallowed_methods, reason = "the expiry of a JWT is a time of day")]
fn unix(from_now: Duration) -> u64 {
    (SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + from_now).as_secs()
}

/// A file that is removed at the end of the test.
pub struct TestFile(pub PathBuf);

impl TestFile {
    pub fn new(name: &str, text: &str) -> Self {
        let name = format!("rr-nats-{}-{name}", std::process::id());
        let file = Self(std::env::temp_dir().join(name));
        file.replace(text);
        file
    }

    pub fn replace(&self, text: &str) {
        let beside = self.0.with_extension("new");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(&beside, &self.0).unwrap();
    }

    pub fn url(&self, address: impl std::fmt::Display, option: &str) -> String {
        format!("nats://{address}?{option}={}", self.0.display())
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
