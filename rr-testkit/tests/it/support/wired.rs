//! A peer below the API of a transport that has no wire: the encoding that all transports share,
//! in front of the same routes.

use std::sync::Arc;

use rr_spi::wire::{
    ErrorDocument, ErrorHeaders, RR, RR_CODE, RR_DELIVERY, RR_REASON, RequestHead, ResponseHead,
};
use rr_spi::{
    Code, Context, Delivery, Error, Intake, IntakeConfig, Reason, Request, Requester, Response,
    Routes, Target, async_trait,
};
use rr_testkit::conformance::{Raw, RawAnswer, RawReply, RawRequest};

/// A peer that hands the heads of requests to an intake by itself.
pub(crate) struct Wired(Intake);

impl Wired {
    pub(crate) fn new(routes: Routes, config: IntakeConfig) -> Self {
        Self(Intake::new(routes, config))
    }
}

#[async_trait]
impl Raw for Wired {
    async fn send(&self, request: RawRequest) -> Result<RawReply, Error> {
        Ok(match serve(&self.0, request).await {
            Ok(response) => {
                let headers = response.headers.iter();
                let headers = headers.map(|(name, value)| (name.to_owned(), value.clone()));
                RawReply::read(headers, response.body)
            }
            Err(error) => {
                let headers = ErrorHeaders::of(&error);
                let headers = headers.iter().map(|(name, value)| (name, value.to_owned()));
                let headers = headers.map(|(name, value)| (name.to_owned(), value.into()));
                RawReply::read(headers, ErrorDocument::encode(&error))
            }
        })
    }

    async fn answering(&self, answer: RawAnswer) -> Result<Arc<dyn Requester>, Error> {
        Ok(Arc::new(Foreign(answer)))
    }
}

async fn serve(intake: &Intake, request: RawRequest) -> Result<Response, Error> {
    let mut head = RequestHead::default();
    let timeout = request.timeout.map(|text| format!("t={text}"));
    if let Some(text) = &timeout {
        head.receive(RR, text.as_bytes())?;
    }
    for (name, value) in &request.headers {
        head.receive(name, value)?;
    }
    let (ctx, _handle) = intake.context(head.inbound());
    let target = Target::parse(&request.target)?;
    intake.handle(&ctx, head.into_request(target, request.body)).await
}

/// A requester that reads the same answer every time.
struct Foreign(RawAnswer);

#[async_trait]
impl Requester for Foreign {
    async fn request(&self, _: &Context, _: Request) -> Result<Response, Error> {
        let RawAnswer::Reply(reply) = &self.0 else {
            let (code, reason) = (Code::Internal, Reason::BAD_RESPONSE);
            return Err(Error::failure(code, Delivery::Unknown, reason, "no reply at all"));
        };
        let mut head = ResponseHead::default();
        for (name, value) in &reply.headers {
            head.receive(name, value);
        }
        let own =
            [(RR_CODE, &reply.code), (RR_REASON, &reply.reason), (RR_DELIVERY, &reply.delivery)];
        for (name, value) in own {
            value.iter().for_each(|value| head.receive(name, value.as_bytes()));
        }
        match reply.code {
            Some(_) => head.outcome(reply.wire_body()),
            None => head.outcome(reply.body.clone()),
        }
    }
}
