//! Conversion of a name into the target of a call.

use rr_spi::{Error, Target};

/// Conversion into the target of a call: a [`Target`] or its name, owned or borrowed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the target of a call",
    label = "not a target",
    note = "a call is `client.call(&ctx, target, &body)`, with a target such as \"orders.v1.place\"",
    note = "a target is a `&str`, a `String` or a `Target`, owned or borrowed"
)]
pub trait IntoTarget {
    /// Converts to a target.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, when the name is malformed.
    fn into_target(self) -> Result<Target, Error>;
}

impl IntoTarget for Target {
    fn into_target(self) -> Result<Target, Error> {
        Ok(self)
    }
}

impl IntoTarget for &Target {
    fn into_target(self) -> Result<Target, Error> {
        Ok(self.clone())
    }
}

impl IntoTarget for &str {
    fn into_target(self) -> Result<Target, Error> {
        Target::parse(self)
    }
}

impl IntoTarget for &&str {
    fn into_target(self) -> Result<Target, Error> {
        Target::parse(self)
    }
}

impl IntoTarget for String {
    fn into_target(self) -> Result<Target, Error> {
        Target::parse(&self)
    }
}

impl IntoTarget for &String {
    fn into_target(self) -> Result<Target, Error> {
        Target::parse(self)
    }
}
