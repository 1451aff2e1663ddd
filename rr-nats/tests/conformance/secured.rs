//! The suite over TLS, with both ends authenticated by nkeys.
//!
//! The foreign peers of the suite speak plain text and have no credentials: the server allows both.

use nkeys::KeyPair;
use rr_nats::{NatsConfig, NatsConnectionConfig, NatsCredentials, NatsServerConfig};
use rr_spi::{Error, Routes, async_trait};
use rr_testkit::conformance::{Capabilities, Harness, Rig, StartOptions};
use rr_testkit::{NatsServer, NatsServerSetup};
use rr_tls::TlsConfig;

use crate::authority::Authority;
use crate::plan;
use crate::rig::{Running, Way};

/// One server that requires certificates to be verified and nonces to be signed.
pub(crate) struct Secured;

#[async_trait]
impl Harness for Secured {
    fn name(&self) -> &str {
        "nats (TLS, nkey)"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_link(false).with_cut(false).with_restart(false)
    }

    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error> {
        let (caller, service) = (KeyPair::new_user(), KeyPair::new_user());
        let authority = Authority::new("ca");
        let pair = authority.pair(&["nats.test"]);
        let setup = NatsServerSetup::default()
            .with_nkey(&caller.public_key(), "")
            .with_nkey(&service.public_key(), "")
            .with_user("foreign", "foreign", "")
            .with_tls(&pair.certificate, &pair.key)
            .with_lines("allow_non_tls: true\nno_auth_user: foreign");
        let tls = TlsConfig::default().with_roots(authority.pem()).with_server_name("nats.test");
        let connection = |key: &KeyPair| {
            NatsConnectionConfig::default()
                .with_tls(tls.clone())
                .with_credentials(NatsCredentials::Nkey(key.seed().unwrap()))
        };
        let server = NatsServerConfig::default()
            .with_intake(options.server)
            .with_connection(connection(&service));
        let client =
            NatsConfig::default().with_calls(options.calls).with_connection(connection(&caller));
        let way = Way::direct(vec![NatsServer::start_with(&setup).await.unwrap()]).over_tls();
        Ok(Box::new(Running::start(way, routes, server, client).await?))
    }
}

rr_testkit::conformance!(Secured, plan());
