//! Answers to `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS` (ADR-32). The client library's own service
//! module is not used: it drops requests when it stops.

mod metadata;
mod time;

use std::sync::Arc;

use async_nats::Subscriber;
use rr_spi::{Bytes, Error, Routes};
use serde_json::{Value, json};

use super::endpoint_stats::{Counters, Endpoints};
use crate::connection::{Link, message, next};
use metadata::{Metadata, docs_of_service};

/// Maximum size of the schemas in one reply, in bytes. Larger schemas are left out: every instance
/// of a service replies to the same question, and the one who asks reads all replies.
const SCHEMAS_BYTES_MAX: usize = 64 * 1024;

/// Verbs that a service answers.
const VERBS: [Verb; 3] = [Verb::Ping, Verb::Info, Verb::Stats];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Ping,
    Info,
    Stats,
}

/// Services of one server, as shown to discovery.
#[derive(Debug)]
pub(super) struct Discovery {
    services: Vec<MicroService>,
    queue: Option<String>,
    version: String,
    started: String,
}

/// Micro service of one rr service, with an endpoint for each method.
#[derive(Debug)]
struct MicroService {
    /// Matches `[A-Za-z0-9_-]+`.
    name: String,
    id: String,
    /// The service's name with its dots.
    rr_service: String,
    /// First line of its documentation.
    description: String,
    endpoints: Vec<MicroEndpoint>,
}

#[derive(Debug)]
struct MicroEndpoint {
    name: String,
    subject: String,
    counters: Arc<Counters>,
    metadata: Metadata,
}

/// Subscription to one verb, for all services or for one.
pub(super) struct VerbSubscription {
    subscriber: Subscriber,
    verb: Verb,
    service: Option<usize>,
}

impl Discovery {
    /// Describes these endpoints of these routes. `default_name` names the service of targets
    /// without one.
    pub(super) fn new(
        routes: &Routes,
        endpoints: &Endpoints,
        prefix: &str,
        default_name: &str,
        queue: Option<String>,
        version: String,
        id: u64,
    ) -> Self {
        let mut services: Vec<MicroService> = Vec::new();
        for (service, method, counters) in endpoints.list() {
            let rest = method.as_deref().unwrap_or(if service.is_empty() { ">" } else { "*" });
            let parts = [prefix, &service, rest];
            let subject = parts.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join(".");
            let metadata = method.as_deref().map(|method| Metadata::of(routes, &service, method));
            let endpoint = MicroEndpoint {
                metadata: metadata.unwrap_or_default(),
                name: method.unwrap_or_else(|| "any".to_owned()),
                subject,
                counters,
            };
            match services.iter_mut().find(|known| known.rr_service == service) {
                Some(known) => known.endpoints.push(endpoint),
                None => {
                    let shown = if service.is_empty() { default_name } else { &service };
                    let id = format!("{id:016x}{:02x}", services.len());
                    let name = micro_name(shown);
                    services.push(MicroService {
                        name,
                        id,
                        description: docs_of_service(routes, &service),
                        rr_service: service,
                        endpoints: vec![endpoint],
                    });
                }
            }
        }
        Self { services, queue, version, started: time::now() }
    }

    /// Subscribes to every verb, for all services and for each one.
    pub(super) async fn subscribe_to_verbs(
        &self,
        link: &Link,
    ) -> Result<Vec<VerbSubscription>, Error> {
        let mut subscriptions = Vec::new();
        for verb in VERBS {
            let all = verb.subject();
            let subscriber = link.subscribe(all.clone(), None).await?;
            subscriptions.push(VerbSubscription { subscriber, verb, service: None });
            for (at, service) in self.services.iter().enumerate() {
                let one = format!("{all}.{}", service.name);
                for subject in [format!("{one}.{}", service.id), one] {
                    let subscriber = link.subscribe(subject, None).await?;
                    subscriptions.push(VerbSubscription { subscriber, verb, service: Some(at) });
                }
            }
        }
        Ok(subscriptions)
    }

    /// Answers the questions of one subscription until the connection ends.
    pub(super) async fn answer(
        self: Arc<Self>,
        link: Arc<Link>,
        mut subscription: VerbSubscription,
    ) {
        while let Some(asked) = next(&mut subscription.subscriber).await {
            let Some(reply) = asked.reply else { continue };
            let asked_of = match subscription.service {
                Some(at) => &self.services[at..=at],
                None => &self.services[..],
            };
            for service in asked_of {
                let body = self.body(service, subscription.verb, |bytes| link.check(bytes).is_ok());
                // A longer answer would end the connection. It is omitted: discovery has no error
                // reply.
                let Some(body) = body else { continue };
                let answer = message(reply.clone(), None, None, body);
                let _ = link.alive().race(link.publish(answer)).await;
            }
        }
    }

    /// Makes the body of an answer: with the schemas if they fit, else without them. Returns `None`
    /// if it does not fit without them either.
    fn body(
        &self,
        service: &MicroService,
        verb: Verb,
        fits: impl Fn(usize) -> bool,
    ) -> Option<Bytes> {
        let mut value = self.describe(service, verb);
        let plain = value.to_string();
        if verb == Verb::Info {
            add_schemas(&mut value, service);
            let whole = value.to_string();
            if whole.len() - plain.len() <= SCHEMAS_BYTES_MAX && fits(whole.len()) {
                return Some(whole.into());
            }
        }
        fits(plain.len()).then(|| plain.into())
    }

    fn describe(&self, service: &MicroService, verb: Verb) -> Value {
        let mut value = json!({
            "type": verb.schema(),
            "name": service.name,
            "id": service.id,
            "version": self.version,
            "metadata": {"rr-service": service.rr_service},
        });
        let endpoints = service.endpoints.iter();
        match verb {
            Verb::Ping => {}
            Verb::Info => {
                value["description"] = service.description.as_str().into();
                let described = endpoints.map(|endpoint| {
                    let mut value = self.endpoint(endpoint);
                    value["metadata"] = endpoint.metadata.facts.clone().into();
                    value
                });
                value["endpoints"] = described.collect();
            }
            Verb::Stats => {
                value["started"] = self.started.as_str().into();
                value["endpoints"] = endpoints.map(|e| self.statistics(e)).collect();
            }
        }
        value
    }

    fn endpoint(&self, endpoint: &MicroEndpoint) -> Value {
        json!({
            "name": endpoint.name,
            "subject": endpoint.subject,
            "queue_group": self.queue.as_deref().unwrap_or_default(),
            "metadata": {},
        })
    }

    fn statistics(&self, endpoint: &MicroEndpoint) -> Value {
        let (requests, errors, nanos, last_error) = endpoint.counters.read();
        let mut value = self.endpoint(endpoint);
        value["num_requests"] = requests.into();
        value["num_errors"] = errors.into();
        value["last_error"] = last_error.into();
        value["processing_time"] = nanos.into();
        value["average_processing_time"] = nanos.checked_div(requests).unwrap_or(0).into();
        value
    }
}

/// Adds the schemas to the metadata of the endpoints, which are in the order of the service.
fn add_schemas(value: &mut Value, service: &MicroService) {
    let described = value["endpoints"].as_array_mut().into_iter().flatten();
    for (value, endpoint) in described.zip(&service.endpoints) {
        if let Some(metadata) = value["metadata"].as_object_mut() {
            metadata.extend(endpoint.metadata.schemas.clone());
        }
    }
}

impl Verb {
    fn subject(self) -> String {
        let verb = match self {
            Self::Ping => "PING",
            Self::Info => "INFO",
            Self::Stats => "STATS",
        };
        format!("$SRV.{verb}")
    }

    fn schema(self) -> &'static str {
        match self {
            Self::Ping => "io.nats.micro.v1.ping_response",
            Self::Info => "io.nats.micro.v1.info_response",
            Self::Stats => "io.nats.micro.v1.stats_response",
        }
    }
}

/// Replaces characters so that the name matches `[A-Za-z0-9_-]+`.
fn micro_name(text: &str) -> String {
    let fitting = |char: char| match char {
        char if char.is_ascii_alphanumeric() || char == '_' => char,
        _ => '-',
    };
    let name: String = text.chars().map(fitting).collect();
    if name.is_empty() { "rr".to_owned() } else { name }
}
