//! Names of methods, of which metrics must have a bounded number.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::Text;
use crate::error::Reason;
use crate::observe::{End, Kind, names};
use crate::target::Target;

/// Maximum number of targets of calls that have names. A program that forwards calls may see any
/// number; a large service has some hundred methods.
const NAMES_MAX: usize = 1000;

/// Returns a target or a route as the conventions write a method: `orders.v1/place`.
#[must_use]
pub fn method_of(target: &str) -> String {
    match target.rsplit_once('.') {
        Some((service, method)) => format!("{service}/{method}"),
        None => target.to_owned(),
    }
}

/// Names of the methods that were seen.
#[derive(Debug, Default)]
pub(super) struct Methods {
    routes: Names,
    targets: Names,
    services: Names,
}

impl Methods {
    /// Returns the method of an operation.
    pub(super) fn of(&self, end: &End<'_>) -> Text {
        match (end.start.kind, end.start.route, end.start.target) {
            // A server has a bounded number of routes.
            (Kind::ServerRequest, Some(route), _) => self.routes.get(route, usize::MAX, method_of),
            (Kind::ServerRequest, None, _) | (_, _, None) => Text::Fixed(names::OTHER),
            (_, _, Some(target)) => {
                self.of_target(target, end.outcome.error().and_then(|error| error.reason()))
            }
        }
    }

    /// Returns the method of a call, which failed for this reason.
    pub(super) fn of_target(&self, target: &Target, reason: Option<&Reason>) -> Text {
        // Only a method that a server may have gets one of the names.
        let is_unknown = reason.is_some_and(|reason| *reason == Reason::NO_SUCH_TARGET);
        let max = if is_unknown { 0 } else { NAMES_MAX };
        self.targets.get(target.as_str(), max, method_of)
    }

    /// Returns the service of a call's target; `None` if the target has no name yet.
    pub(super) fn service_of(&self, target: &Target) -> Option<Text> {
        let service = match target.service() {
            "" => target.as_str(),
            service => service,
        };
        let is_known = self.targets.contains(target.as_str());
        is_known.then(|| self.services.get(service, NAMES_MAX, str::to_owned))
    }
}

/// Names by the texts that they are made of.
#[derive(Debug, Default)]
struct Names(RwLock<HashMap<Box<str>, Arc<str>>>);

impl Names {
    fn contains(&self, text: &str) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains_key(text)
    }

    /// Returns the name of a text. If the text has none, it gets one unless `max` texts have.
    fn get(&self, text: &str, max: usize, name: impl Fn(&str) -> String) -> Text {
        if let Some(name) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(text) {
            return Text::Shared(Arc::clone(name));
        }
        if max == 0 {
            return Text::Fixed(names::OTHER);
        }
        let mut names = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= max && !names.contains_key(text) {
            return Text::Fixed(names::OTHER);
        }
        let name = names.entry(text.into()).or_insert_with(|| name(text).into());
        Text::Shared(Arc::clone(name))
    }
}
