//! Calls with several replies.

use super::{Call, Outcome};
use crate::many::{ManyConfig, ManyRequester, Replies};

impl<'a, R: ManyRequester + ?Sized, K: Outcome> Call<'a, R, K> {
    /// Prepares to collect several replies, each one as this call would return it; see
    /// [`many`](crate::many).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # #[cfg(feature = "json")]
    /// # async fn example() -> Result<(), rr_core::CallError> {
    /// use rr_core::many::ManyConfig;
    /// use rr_core::{Context, RequesterExt, connect};
    ///
    /// let client = connect("http://berlin:8080,oslo:8080").await?;
    /// let ctx = Context::background();
    /// let mut replies = client.call::<u32>(&ctx, "stock.left", "lamp").many(ManyConfig::default());
    /// while let Some(reply) = replies.next().await {
    ///     println!("{:?}: {}", replies.endpoint(), reply?);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn many(self, config: ManyConfig) -> Replies<'a, K> {
        Replies::new(self.requester, self.ctx, self.request, config)
    }
}
