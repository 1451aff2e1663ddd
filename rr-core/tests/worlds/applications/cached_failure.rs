//! A page that caches "no such product" when the catalog could not be asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_core::{Context, Error, HandlerExt, RequesterExt, Router, Service};
use rr_testkit::worlds::{Network, NetworkClient};
use tokio::time::sleep;

use super::support::{assert_found, assert_passes, explore, within};

async fn name(_product: u32) -> Result<String, Error> {
    Ok("tea".to_owned())
}

struct Page {
    catalog: NetworkClient,
    names: Mutex<BTreeMap<u32, Option<String>>>,
    is_right: bool,
}

impl Page {
    /// Returns the name of a product; `None` if there is no such product.
    async fn name(self: Arc<Self>, ctx: Context, product: u32) -> Result<Option<String>, Error> {
        if let Some(known) = self.names.lock().unwrap().get(&product) {
            return Ok(known.clone());
        }
        let asked = self.catalog.call::<String>(&ctx, "catalog.name", &product).safe().await;
        let name = if self.is_right { Some(asked?) } else { asked.ok() };
        self.names.lock().unwrap().insert(product, name.clone());
        Ok(name)
    }
}

pub(crate) async fn scenario(network: Network, is_right: bool) {
    network.serve("catalog", || Router::new().route("catalog.name", name.safe()));
    let catalog = network.client("page", "catalog");
    let page = Arc::new(Page { catalog, names: Mutex::default(), is_right });
    network.serve("page", move || {
        Service::new("page", Arc::clone(&page)).method("name", Page::name.safe())
    });

    let user = network.client("user", "page");
    let _ = user.call::<Option<String>>(&within(5), "page.name", &7).safe().await;
    sleep(Duration::from_secs(3600)).await;
    if let Ok(name) = user.call::<Option<String>>(&within(5), "page.name", &7).safe().await {
        assert!(name.is_some(), "the page still says that there is no product 7");
    }
}

#[test]
fn a_failure_that_is_cached_stays() {
    assert_found(
        &explore(false, scenario),
        "page>catalog/catalog.name#1=connect-fails",
        "the page still says that there is no product 7",
    );
}

#[test]
fn a_cache_of_answers_passes() {
    assert_passes(&explore(true, scenario));
}
