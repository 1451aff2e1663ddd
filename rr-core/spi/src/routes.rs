//! Routing table: the responder of each target.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::box_future::BoxFuture;
use crate::context::Context;
use crate::error::{Code, Delivery, Error, Reason};
use crate::excerpt::excerpt;
use crate::middleware::{Middleware, Next};
use crate::readiness::ReadinessCheck;
use crate::request::Request;
use crate::responder::Responder;
use crate::response::Response;
use crate::route_handler::RouteHandler;
use crate::target::Target;

/// Targets that a responder answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Route {
    /// One target, given by its full name.
    Target(String),
    /// Every method of a service.
    Service(String),
    /// Every target that no other route answers.
    Fallback,
}

/// Declared idempotency of a method, which decides how it may be called and repeated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Declared {
    /// Nothing is known.
    #[default]
    Unspecified,
    /// The method changes nothing; HTTP may call it with GET.
    Safe,
    /// Running the method twice has the effect of running it once.
    Idempotent,
    /// The method recognises a second request by its idempotency key.
    Keyed,
}

/// Maximum number of bytes of the name of a readiness check.
const CHECK_NAME_BYTES_MAX: usize = 64;

/// Routing table: the responder of each target, passed to a transport's `serve`.
///
/// `rr-core`'s `Router` converts into `Routes`. A transport looks up a target with [`Routes::find`]
/// (through [`Intake`](crate::Intake)) and subscribes to the routes of [`Routes::iter`].
#[derive(Clone, Debug, Default)]
pub struct Routes {
    targets: BTreeMap<String, Entry>,
    services: BTreeMap<String, Service>,
    fallback: Option<Entry>,
    descriptions: Vec<(String, Arc<Value>)>,
    checks: Vec<ReadinessCheck>,
}

#[derive(Clone, Debug)]
enum Service {
    /// One responder answers every method.
    Whole(Entry),
    /// The methods are a closed list among the targets; other methods do not exist.
    Closed,
}

#[derive(Clone)]
struct Entry {
    handler: RouteHandler,
    middleware: Arc<[Arc<dyn Middleware>]>,
    declared: Declared,
    name: Arc<str>,
}

impl Entry {
    fn new(route: &Route, handler: RouteHandler, declared: Declared) -> Self {
        let name = match route {
            Route::Target(name) => Arc::from(name.as_str()),
            Route::Service(name) => Arc::from(format!("{name}.*")),
            Route::Fallback => Arc::from("*"),
        };
        Self { handler, middleware: Arc::default(), declared, name }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({:?}, {} middleware)", self.declared, self.middleware.len())
    }
}

impl Routes {
    /// Makes an empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a responder; entering it counts as running the handler.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, when the name is malformed; `AlreadyExists`, not sent, when
    /// the route is taken.
    pub fn insert(
        &mut self,
        route: Route,
        declared: Declared,
        responder: Arc<dyn Responder>,
    ) -> Result<(), Error> {
        let entry = Entry::new(&route, RouteHandler { responder, marks: true }, declared);
        self.add(route, entry)
    }

    /// Adds a responder that sets the mark itself, with [`Context::mark_ran`] or [`Context::pass`].
    ///
    /// For wrappers that may reply themselves after they were entered: decoding, bridges.
    ///
    /// # Errors
    ///
    /// As [`Routes::insert`].
    pub fn insert_self_marking(
        &mut self,
        route: Route,
        declared: Declared,
        responder: Arc<dyn Responder>,
    ) -> Result<(), Error> {
        let entry = Entry::new(&route, RouteHandler { responder, marks: false }, declared);
        self.add(route, entry)
    }

    /// Declares that a service has no methods besides those routed by name.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, when the name is malformed; `AlreadyExists`, not sent, when
    /// one responder answers the whole service.
    pub fn close_service(&mut self, service: &str) -> Result<(), Error> {
        Target::check_service(service)?;
        if matches!(self.services.get(service), Some(Service::Whole(_))) {
            return Err(taken(&Route::Service(service.to_owned())));
        }
        self.services.insert(service.to_owned(), Service::Closed);
        Ok(())
    }

    /// Adds the description of a service, which transports publish: `rr-http` at `/.well-known/rr`,
    /// `rr-nats` in its replies to `$SRV.INFO`. The wire reference lists the members of a
    /// description.
    ///
    /// Several descriptions of one service are kept side by side, since several tables may have
    /// methods of it.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, when the name is malformed, or when the description is not a
    /// JSON object.
    pub fn describe(&mut self, service: &str, description: Value) -> Result<(), Error> {
        Target::check_service(service)?;
        if !description.is_object() {
            let text = format!("the description of `{service}` is not a JSON object");
            return Err(Error::invalid_argument(text)
                .with_hint("describe a service like `{\"name\": \"..\", \"methods\": [..]}`"));
        }
        self.descriptions.push((service.to_owned(), Arc::new(description)));
        Ok(())
    }

    /// Returns the services and their descriptions, in the order in which they were added.
    pub fn descriptions(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.descriptions.iter().map(|(service, description)| (service.as_str(), &**description))
    }

    /// Removes all descriptions, so that transports publish nothing about the services.
    #[must_use]
    pub fn without_descriptions(self) -> Self {
        Self { descriptions: Vec::new(), ..self }
    }

    /// Adds a readiness check, which transports with a health check run when it is asked for:
    /// `rr-http` at `/.well-known/rr/health`.
    ///
    /// A check has 1 s. At most one run of it is in progress, and its outcome is reused for 1 s,
    /// also by the clones of this table. A panic fails the check. The message of its error is
    /// shown; that of an error that a downstream call or a transport made is replaced by a general
    /// text, unless the error is [exposed](Error::expose).
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, when the name is empty or has more than 64 bytes;
    /// `AlreadyExists`, not sent, when there is a check with this name.
    pub fn readiness_check(
        &mut self,
        name: &str,
        check: impl Fn() -> BoxFuture<'static, Result<(), Error>> + Send + Sync + 'static,
    ) -> Result<(), Error> {
        if name.is_empty() || name.len() > CHECK_NAME_BYTES_MAX {
            let text = format!("`{}` cannot be the name of a readiness check", excerpt(name, 64));
            let hint = format!("a name has 1 to {CHECK_NAME_BYTES_MAX} bytes");
            return Err(Error::invalid_argument(text).with_hint(hint));
        }
        self.add_check(ReadinessCheck::new(name, Box::new(check)))
    }

    /// Returns the readiness checks.
    pub(crate) fn checks(&self) -> &[ReadinessCheck] {
        &self.checks
    }

    fn add_check(&mut self, check: ReadinessCheck) -> Result<(), Error> {
        if self.checks.iter().any(|known| known.name() == check.name()) {
            let text =
                format!("there is a readiness check `{}` already", excerpt(check.name(), 64));
            let error = Error::failure(Code::AlreadyExists, Delivery::NotSent, None, text);
            return Err(error.with_hint("give each readiness check its own name"));
        }
        self.checks.push(check);
        Ok(())
    }

    /// Adds every route, every description and every readiness check of another table.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`, not sent, when a route or a check is in both.
    pub fn merge(&mut self, other: Self) -> Result<(), Error> {
        for check in other.checks {
            self.add_check(check)?;
        }
        self.descriptions.extend(other.descriptions);
        for (name, entry) in other.targets {
            self.add(Route::Target(name), entry)?;
        }
        for (name, service) in other.services {
            match service {
                Service::Whole(entry) => self.add(Route::Service(name), entry)?,
                Service::Closed => self.close_service(&name)?,
            }
        }
        other.fallback.map_or(Ok(()), |entry| self.add(Route::Fallback, entry))
    }

    /// Wraps every route in middleware, outside of its existing middleware; the first is outermost.
    #[must_use]
    pub fn wrap(mut self, middleware: &[Arc<dyn Middleware>]) -> Self {
        let services = self.services.values_mut().filter_map(|service| match service {
            Service::Whole(entry) => Some(entry),
            Service::Closed => None,
        });
        for entry in self.targets.values_mut().chain(services).chain(&mut self.fallback) {
            entry.middleware = middleware.iter().chain(&*entry.middleware).cloned().collect();
        }
        self
    }

    /// Finds the responder of a target: of its own route, then of its service, then the fallback.
    ///
    /// # Errors
    ///
    /// `Unimplemented`, rejected, `no-such-target`, when there is none.
    pub fn find(&self, target: &Target) -> Result<RouteMatch<'_>, Error> {
        self.lookup(target).ok_or_else(|| {
            let (code, text) = (Code::Unimplemented, format!("nothing answers `{target}` here"));
            Error::failure(code, Delivery::Rejected, Reason::NO_SUCH_TARGET, text)
        })
    }

    pub(crate) fn lookup(&self, target: &Target) -> Option<RouteMatch<'_>> {
        let entry = match self.targets.get(target.as_str()) {
            Some(entry) => Some(entry),
            None => match self.services.get(target.service()) {
                Some(Service::Whole(entry)) => Some(entry),
                Some(Service::Closed) => None,
                None => self.fallback.as_ref(),
            },
        };
        entry.map(RouteMatch)
    }

    /// Returns every route and its declared idempotency, in a stable order.
    pub fn iter(&self) -> impl Iterator<Item = (Route, Declared)> {
        let targets =
            self.targets.iter().map(|(name, e)| (Route::Target(name.clone()), e.declared));
        let services = self.services.iter().filter_map(|(name, service)| match service {
            Service::Whole(entry) => Some((Route::Service(name.clone()), entry.declared)),
            Service::Closed => None,
        });
        let fallback = self.fallback.iter().map(|entry| (Route::Fallback, entry.declared));
        targets.chain(services).chain(fallback)
    }

    /// Returns the services whose methods are a closed list.
    pub fn closed_services(&self) -> impl Iterator<Item = &str> {
        let closed =
            |(name, service): (_, &Service)| matches!(service, Service::Closed).then_some(name);
        self.services.iter().filter_map(move |(name, service)| closed((name.as_str(), service)))
    }

    fn add(&mut self, route: Route, entry: Entry) -> Result<(), Error> {
        let free = match &route {
            Route::Target(name) => {
                Target::parse(name)?;
                !self.targets.contains_key(name)
            }
            Route::Service(name) => {
                Target::check_service(name)?;
                !self.services.contains_key(name)
            }
            Route::Fallback => self.fallback.is_none(),
        };
        if !free {
            return Err(taken(&route));
        }
        match route {
            Route::Target(name) => drop(self.targets.insert(name, entry)),
            Route::Service(name) => drop(self.services.insert(name, Service::Whole(entry))),
            Route::Fallback => self.fallback = Some(entry),
        }
        Ok(())
    }
}

fn taken(route: &Route) -> Error {
    let what = match route {
        Route::Target(name) => format!("target `{name}`"),
        Route::Service(name) => format!("service `{name}`"),
        Route::Fallback => "the fallback".to_owned(),
    };
    let (code, text) = (Code::AlreadyExists, format!("{what} is routed already"));
    Error::failure(code, Delivery::NotSent, None, text)
        .with_hint("route each target, service and the fallback once")
}

/// Route that answers a target; see [`Routes::find`].
#[derive(Clone, Copy, Debug)]
pub struct RouteMatch<'a>(&'a Entry);

impl<'a> RouteMatch<'a> {
    /// Returns the declared idempotency of the method.
    #[must_use]
    pub fn declared(self) -> Declared {
        self.0.declared
    }

    /// Returns the name of the route: the target, `service.*` or `*`.
    pub(crate) fn name(self) -> &'a Arc<str> {
        &self.0.name
    }

    /// Returns whether the route has no middleware and its responder does not set the mark.
    pub(crate) fn is_direct(self) -> bool {
        self.0.handler.marks && self.0.middleware.is_empty()
    }

    /// Runs the route in the context that the server made: its middleware, then its responder. For
    /// a direct route, this method sets the mark and the caller re-scopes the outcome.
    pub(crate) fn run<'f>(
        self,
        ctx: &'f Context,
        request: Request,
    ) -> BoxFuture<'f, Result<Response, Error>>
    where
        'a: 'f,
    {
        let Entry { handler, middleware, .. } = self.0;
        if self.is_direct() {
            ctx.mark_ran();
            return handler.responder.respond(ctx, request);
        }
        Next::for_route(middleware, handler, Some(ctx)).run(ctx, request)
    }
}

impl Responder for Routes {
    crate::boxed! {
        /// Answers as one handler: an unknown target is this handler's own error.
        fn respond(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
            match self.find(&request.target) {
                Ok(RouteMatch(Entry { handler, middleware, .. })) => {
                    Next::for_route(middleware, handler, None).run(ctx, request)
                }
                Err(error) => {
                    let error = Error::new(error.code(), error.message().to_owned());
                    Box::pin(std::future::ready(Err(error.with_reason(Reason::NO_SUCH_TARGET))))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Named(&'static str);

    #[async_trait::async_trait]
    impl Responder for Named {
        async fn respond(&self, _: &Context, _: Request) -> Result<Response, Error> {
            Ok(Response::new(self.0))
        }
    }

    fn routes() -> Routes {
        let mut routes = Routes::new();
        let mut add = |route, name| {
            routes.insert(route, Declared::Unspecified, Arc::new(Named(name))).unwrap();
        };
        add(Route::Target("a.b".into()), "target");
        add(Route::Service("s".into()), "service");
        add(Route::Fallback, "fallback");
        routes.close_service("closed").unwrap();
        routes
    }

    async fn ask(routes: &Routes, target: &str) -> Result<Response, Error> {
        let target = Target::parse(target)?;
        let found = routes.find(&target)?;
        found.run(&Context::background(), Request::new(target.clone(), "")).await
    }

    #[tokio::test]
    async fn the_closest_route_answers() {
        let routes = routes();
        assert_eq!(ask(&routes, "a.b").await.unwrap().body, "target");
        assert_eq!(ask(&routes, "s.any").await.unwrap().body, "service");
        assert_eq!(ask(&routes, "a.c").await.unwrap().body, "fallback");
        let error = ask(&routes, "closed.x").await.unwrap_err();
        assert_eq!(error.reason(), Some(&Reason::NO_SUCH_TARGET));
        assert_eq!(error.delivery(), Delivery::Rejected);
    }

    #[test]
    fn a_route_is_given_once() {
        let mut routes = routes();
        for route in [Route::Target("a.b".into()), Route::Service("s".into()), Route::Fallback] {
            let named = Arc::new(Named("again"));
            let error = routes.insert(route, Declared::Unspecified, named).unwrap_err();
            assert_eq!(error.code(), Code::AlreadyExists);
        }
        assert!(routes.clone().merge(routes.clone()).is_err());
        assert!(routes.close_service("s").is_err());
        assert_eq!(routes.iter().count(), 3);
    }

    #[test]
    fn descriptions_survive_a_merge_and_middleware_until_they_are_removed() {
        let mut routes = routes();
        routes.describe("s", json!({"name": "s"})).unwrap();
        let mut others = Routes::new();
        others.describe("other", json!({"name": "other"})).unwrap();
        others.describe("s", json!({"name": "s", "docs": "more"})).unwrap();
        routes.merge(others.wrap(&[])).unwrap();
        let names: Vec<_> = routes.descriptions().map(|(service, _)| service).collect();
        assert_eq!(names, ["s", "other", "s"]);
        assert_eq!(routes.descriptions().nth(2).unwrap().1["docs"], "more");
        let hidden = routes.without_descriptions();
        assert_eq!(hidden.descriptions().count(), 0);
        assert_eq!(hidden.iter().count(), 3);
    }

    #[test]
    fn readiness_checks_have_different_names_and_survive_a_merge() {
        let ready = || -> BoxFuture<'static, _> { Box::pin(async { Ok(()) }) };
        let mut routes = Routes::new();
        routes.readiness_check("db", ready).unwrap();
        assert_eq!(routes.readiness_check("db", ready).unwrap_err().code(), Code::AlreadyExists);
        for bad in [String::new(), "x".repeat(65)] {
            let error = routes.readiness_check(&bad, ready).unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument);
            assert!(error.hint().contains("64"), "{}", error.hint());
        }
        let mut others = Routes::new();
        others.readiness_check("cache", ready).unwrap();
        routes.merge(others.clone().wrap(&[])).unwrap();
        let names: Vec<_> = routes.checks().iter().map(ReadinessCheck::name).collect();
        assert_eq!(names, ["db", "cache"]);
        assert_eq!(routes.merge(others).unwrap_err().code(), Code::AlreadyExists);
    }

    #[test]
    fn malformed_descriptions_are_refused_with_a_hint() {
        let mut routes = Routes::new();
        assert!(routes.describe("a..b", json!({})).is_err());
        let error = routes.describe("a", json!([])).unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.hint().contains("methods"), "{}", error.hint());
        assert_eq!(routes.descriptions().count(), 0);
    }
}
