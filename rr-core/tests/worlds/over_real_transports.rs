//! Faults one by one over real transports, and the applications' counterexamples replayed there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rr_core::{Code, Context, Delivery, Error, Reason, RequesterExt, Router};
use rr_http::HttpVersion;
use rr_testkit::worlds::{Carrier, Fault, Network, Script, Worlds};
use tokio::time::sleep;

use super::carriers::Http;

#[tokio::test]
async fn probe() {
    let carriers: [Arc<dyn Carrier>; 3] = [
        Arc::new(Http(HttpVersion::H1)),
        Arc::new(Http(HttpVersion::H2c)),
        Arc::new(super::carriers::Nats::start().await),
    ];
    for carrier in carriers {
        for fault in Fault::ALL {
            let script = Script::new().at("test", "svc", "svc.work", 1, fault);
            let network = Network::over(Arc::clone(&carrier), script);
            let runs = super::exploration::serve(&network);
            let outcome = super::exploration::work(&network).await;
            let told = outcome
                .map_err(|e| (e.code(), e.delivery(), e.reason().map(|r| r.as_str().to_owned())));
            let settled = network.settle(Duration::from_secs(10)).await;
            println!(
                "{} {fault}: {told:?} runs {} settled {settled}",
                carrier.name(),
                runs.load(Ordering::SeqCst)
            );
            if std::env::var_os("TRACE").is_some() {
                println!("{}", network.trace());
            }
        }
    }
}
