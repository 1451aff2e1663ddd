//! A trait of `#[service]`, mocked by a mock and by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rr_core::{AppError, Code, Context, Error, Idempotency, async_trait, service};
use rr_testkit::{Mock, loopback};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Charge, charge};

#[derive(Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{left} cents left")]
struct Refused {
    left: u64,
}

impl AppError for Refused {
    const TYPE: &'static str = "payments.Refused";
}

#[service("payments.v1")]
trait Payments {
    #[rr(keyed)]
    async fn charge(&self, ctx: &Context, charge: Charge) -> Result<u64, Error>;

    #[rr(safe)]
    async fn balance(&self, ctx: &Context) -> Result<u64, Error>;

    async fn send(&self, ctx: &Context, cents: u64, to: String) -> Result<(), Error>;
}

/// Code under test: pays in two parts.
async fn pay_in_parts(payments: &impl Payments, ctx: &Context, cents: u64) -> Result<u64, Error> {
    if payments.balance(ctx).await? < cents {
        return Err(Error::new(Code::FailedPrecondition, "too poor"));
    }
    let first = payments.charge(ctx, charge(cents / 2)).await?;
    let second = payments.charge(ctx, charge(cents - cents / 2)).await?;
    payments.send(ctx, cents, "Zoë".into()).await?;
    Ok(first + second)
}

/// Mock by hand: an implementation of the trait.
#[derive(Default)]
struct ByHand {
    charged: AtomicU64,
}

#[async_trait]
impl Payments for ByHand {
    async fn charge(&self, _: &Context, charge: Charge) -> Result<u64, Error> {
        self.charged.fetch_add(charge.cents, Ordering::Relaxed);
        Ok(charge.cents)
    }

    async fn balance(&self, _: &Context) -> Result<u64, Error> {
        Ok(100)
    }

    async fn send(&self, _: &Context, _: u64, _: String) -> Result<(), Error> {
        Ok(())
    }
}

#[tokio::test]
async fn a_trait_is_mocked_by_an_implementation_of_it() {
    let payments = Arc::new(ByHand::default());
    let paid = pay_in_parts(&payments, &Context::background(), 51).await.unwrap();
    assert_eq!((paid, payments.charged.load(Ordering::Relaxed)), (51, 51));
}

#[tokio::test]
async fn a_trait_is_mocked_behind_its_client() {
    let mock = Mock::service("payments.v1");
    mock.on("balance").reply(100);
    mock.on("charge").reply_with(|charge: &Charge| Ok(charge.cents)).expect(2);
    mock.on("send").with(json!({"cents": 51, "to": "Zoë"})).reply(()).expect(1);
    let payments = PaymentsClient::new(loopback(&mock));
    let ctx = Context::background();
    assert_eq!(pay_in_parts(&payments, &ctx, 51).await.unwrap(), 51);
    assert_eq!(mock.inputs::<Charge>("charge"), [charge(25), charge(26)]);
    let keyed = mock
        .received()
        .iter()
        .filter(|request| matches!(request.idempotency, Idempotency::Keyed(_)))
        .count();
    assert_eq!(keyed, 2);

    mock.checkpoint();
    mock.on("balance").reply(50);
    mock.on("charge").expect_none();
    let error = pay_in_parts(&payments, &ctx, 51).await.unwrap_err();
    assert_eq!(error.message(), "too poor");

    mock.checkpoint();
    mock.on("balance").reply(100);
    mock.on("charge").reply(25).fail(Error::from(Refused { left: 3 }));
    let error = pay_in_parts(&payments, &ctx, 51).await.unwrap_err();
    let refused: Refused = serde_json::from_slice(&error.details()[0].value).unwrap();
    assert_eq!(refused, Refused { left: 3 });
}
