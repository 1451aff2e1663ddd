//! Type that a typed call decodes its reply to.

use serde::de::DeserializeOwned;

/// Type that a typed call decodes its reply to: every type that implements
/// [`DeserializeOwned`]. The compiler's message names it when a type is missing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the type of a reply",
    label = "the reply of a call is decoded to a type that derives `serde::Deserialize`",
    note = "`!` stands for a type that is not named: write `let receipt: Receipt = client.call(..).await?`, or `let () = ..` for a method without output"
)]
pub trait ReplyValue: DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned> ReplyValue for T {}
