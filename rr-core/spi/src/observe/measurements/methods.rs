//! Names of methods, of which metrics must have a bounded number.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::Text;
use crate::error::{AttemptRecord, Delivery, Error, Reason};
use crate::observe::{End, Kind, Outcome, names};
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
                let reason = end.outcome.error().and_then(Error::reason);
                let dropped = matches!(end.outcome, Outcome::Dropped(_));
                self.of_target(target, !dropped && is_answer(end.outcome.delivery(), reason))
            }
        }
    }

    /// Returns the method of a call that failed, and that may be tried again.
    pub(super) fn of_failed(&self, target: &Target, failed: &AttemptRecord) -> Text {
        self.of_target(target, is_answer(failed.delivery, failed.reason.as_ref()))
    }

    /// Returns the method of a call. Only a target that has answered gets one of the names: callers
    /// can make up any number of targets that do not exist.
    fn of_target(&self, target: &Target, has_answered: bool) -> Text {
        let max = if has_answered { NAMES_MAX } else { 0 };
        self.targets.get(target.as_str(), max, method_of)
    }

    /// Returns the method of a call or of a request, if it has a name already.
    pub(super) fn known(&self, target: &Target) -> Text {
        match self.routes.contains(target.as_str()) {
            true => self.routes.get(target.as_str(), 0, method_of),
            false => self.of_target(target, false),
        }
    }

    /// Returns the service of a target; `None` if the target has no name yet.
    pub(super) fn service_of(&self, target: &Target) -> Option<Text> {
        let service = match target.service() {
            "" => target.as_str(),
            service => service,
        };
        let mut of_either_end = [&self.targets, &self.routes].into_iter();
        let is_known = of_either_end.any(|names| names.contains(target.as_str()));
        is_known.then(|| self.services.get(service, NAMES_MAX, str::to_owned))
    }
}

/// Returns whether an outcome shows that the target exists: a reply, or an error of its handler.
fn is_answer(delivery: Delivery, reason: Option<&Reason>) -> bool {
    // A handler that forwards calls may return the refusal of the next server.
    delivery == Delivery::Processed && reason != Some(&Reason::NO_SUCH_TARGET)
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
