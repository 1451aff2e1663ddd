//! The server side of the in-memory transport.

use std::sync::Arc;

use rr_spi::{CallConfig, Error, Intake, IntakeConfig, Location, Routes, Server};

use super::registry::Registry;

/// Serves routes at `memory://name` with the default limits.
///
/// # Errors
///
/// Not sent: `InvalidArgument` when the URL is malformed, `AlreadyExists` when the name is already
/// served in this process.
///
/// # Panics
///
/// When called outside of a tokio runtime.
pub fn serve(url: &str, routes: impl Into<Routes>) -> Result<Server, Error> {
    serve_with(url, routes, IntakeConfig::default())
}

/// Serves routes at `memory://name` with the given limits.
///
/// # Errors
///
/// As [`serve`].
///
/// # Panics
///
/// When called outside of a tokio runtime.
pub fn serve_with(
    url: &str,
    routes: impl Into<Routes>,
    config: IntakeConfig,
) -> Result<Server, Error> {
    let location = Location::parse(url)?;
    let (_, config) = location.configure(CallConfig::default(), config)?;
    serve_at(&Registry::of(&location)?, url, Intake::new(routes, config))
}

pub(crate) fn serve_at(
    registry: &Arc<Registry>,
    url: &str,
    intake: Intake,
) -> Result<Server, Error> {
    let registration = registry.enter(intake.clone())?;
    Ok(Server::spawn(url.to_owned(), intake.clone(), |shutdown| async move {
        shutdown.draining().await;
        // Stays registered until the last request has ended, so that new calls are refused with
        // `draining` until then.
        intake.idle().await;
        drop(registration);
    }))
}
