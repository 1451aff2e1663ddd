//! Answers to `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS` (ADR-32). The client library's own service
//! module is not used: it drops requests when it stops.

mod time;

use std::sync::Arc;

use async_nats::Subscriber;
use rr_spi::{Bytes, Error};
use serde_json::{Value, json};

use super::endpoint_stats::{Counters, Endpoints};
use crate::connection::{Link, message, next};

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
    endpoints: Vec<MicroEndpoint>,
}

#[derive(Debug)]
struct MicroEndpoint {
    name: String,
    subject: String,
    counters: Arc<Counters>,
}

/// Subscription to one verb, for all services or for one.
pub(super) struct VerbSubscription {
    subscriber: Subscriber,
    verb: Verb,
    service: Option<usize>,
}

impl Discovery {
    /// Describes these endpoints. `default_name` names the service of targets without one.
    pub(super) fn new(
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
            let endpoint = MicroEndpoint {
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
                    let endpoints = vec![endpoint];
                    services.push(MicroService { name, id, rr_service: service, endpoints });
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
                let body = Bytes::from(self.describe(service, subscription.verb).to_string());
                // A longer answer would end the connection. It is omitted: discovery has no error
                // reply.
                if link.check(body.len()).is_err() {
                    continue;
                }
                let answer = message(reply.clone(), None, None, body);
                let _ = link.alive().race(link.publish(answer)).await;
            }
        }
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
                value["description"] = "".into();
                value["endpoints"] = endpoints.map(|e| self.endpoint(e)).collect();
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
