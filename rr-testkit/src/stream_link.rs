//! A link between the two ends of a stream that can be cut at any byte.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rr_spi::{CancelHandle, Cause, Context};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};

use crate::sync::lock;

/// Size of one read: the default read size of hyper and async-nats.
const CHUNK_BYTES: usize = 8 * 1024;

/// One direction of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Direction {
    /// From requesters to their server.
    Requests,
    /// From a server to its requesters.
    Replies,
}

/// Link that copies bytes between the two ends of streams, such as in-process pipes, and cuts them
/// on command, immediately or at a given byte.
///
/// Clones share the same link.
///
/// # Examples
///
/// ```
/// use rr_testkit::{Direction, StreamLink};
/// use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let link = StreamLink::new();
/// let ((mut client, near), (far, mut server)) = (duplex(64), duplex(64));
/// let carrying = link.clone();
/// tokio::spawn(async move { carrying.carry(near, far).await });
///
/// link.cut_after(Direction::Requests, 3);
/// client.write_all(b"request").await?;
/// let mut heard = Vec::new();
/// server.read_to_end(&mut heard).await?;
/// assert_eq!(heard, b"req");
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct StreamLink(Arc<Shared>);

struct Shared {
    refusing: AtomicBool,
    open: AtomicUsize,
    /// Context of the open streams and its cancel handle; replaced at each cut.
    scope: Mutex<(Context, CancelHandle)>,
    /// Number of bytes that still pass in one direction before the cut; stays at 0 until the cut.
    fuse: Mutex<Option<(Direction, u64)>>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            refusing: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            scope: Mutex::new(Context::background().child()),
            fuse: Mutex::default(),
        }
    }
}

impl StreamLink {
    /// Makes a link that carries every byte.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Copies bytes between a requester's end and a server's until both have closed, one fails or
    /// the link is cut; then drops both ends. While the link refuses streams, drops both ends
    /// immediately.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the stream.
    pub async fn carry(
        &self,
        near: impl AsyncRead + AsyncWrite + Send,
        far: impl AsyncRead + AsyncWrite + Send,
    ) {
        if let Some(span) = self.open() {
            // Both ends see the result themselves.
            let _ = span.run(span.copy(near, far)).await;
        }
    }

    /// Cuts every open stream immediately, even in the middle of a message.
    pub fn cut(&self) {
        *lock(&self.0.fuse) = None;
        self.end_streams();
    }

    fn end_streams(&self) {
        let cut = std::mem::replace(&mut *lock(&self.0.scope), Context::background().child());
        // Outside of the lock: cancelling wakes the tasks in `carry`.
        cut.1.cancel_with(Cause::PeerGone);
    }

    /// Cuts every open stream and ends new ones immediately until [`StreamLink::restore`].
    pub fn cut_and_refuse(&self) {
        self.0.refusing.store(true, Ordering::SeqCst);
        self.cut();
    }

    /// Cuts every open stream once `bytes` more bytes have passed in `direction`, summed over all
    /// streams. With 0 no further byte passes. Streams opened after the cut are not affected.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        *lock(&self.0.fuse) = Some((direction, bytes));
    }

    /// Accepts new streams again and cancels a pending [`StreamLink::cut_after`].
    pub fn restore(&self) {
        *lock(&self.0.fuse) = None;
        self.0.refusing.store(false, Ordering::SeqCst);
    }

    /// Returns whether the link ends new streams immediately.
    #[must_use]
    pub fn is_refusing(&self) -> bool {
        self.0.refusing.load(Ordering::SeqCst)
    }

    /// Returns the number of open streams.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.open.load(Ordering::SeqCst)
    }

    /// Opens a stream; `None` while the link refuses streams.
    pub(crate) fn open(&self) -> Option<Span> {
        // The scope is taken before `refusing` is checked: a cut in between then ends this stream
        // too.
        let scope = lock(&self.0.scope).0.clone();
        if self.is_refusing() {
            return None;
        }
        self.0.open.fetch_add(1, Ordering::SeqCst);
        Some(Span { link: self.clone(), scope })
    }

    /// Returns how many of the bytes read may pass, and whether the link must be cut after them.
    fn burn(&self, direction: Direction, read: usize) -> (usize, bool) {
        let mut fuse = lock(&self.0.fuse);
        match &mut *fuse {
            Some((burning, left)) if *burning == direction => {
                let passing = usize::try_from(*left).unwrap_or(usize::MAX).min(read);
                *left -= passing as u64;
                (passing, *left == 0)
            }
            _ => (read, false),
        }
    }

    /// Cuts the link if its last byte has passed and it was not cut or restored since.
    fn cut_if_burnt(&self, direction: Direction) {
        let burnt = lock(&self.0.fuse).take_if(|fuse| *fuse == (direction, 0));
        if burnt.is_some() {
            self.end_streams();
        }
    }
}

impl fmt::Debug for StreamLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamLink")
            .field("refusing", &self.is_refusing())
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

/// Open stream of a link. Dropping it closes the stream.
pub(crate) struct Span {
    link: StreamLink,
    scope: Context,
}

impl Span {
    /// Runs the work of the stream until it ends or the link is cut.
    pub(crate) async fn run(&self, work: impl Future<Output = io::Result<()>>) -> io::Result<()> {
        self.scope.race(work).await.unwrap_or_else(|_| Err(io::ErrorKind::ConnectionAborted.into()))
    }

    /// Copies bytes both ways. The end of one direction is passed on; the other stays open.
    pub(crate) async fn copy(
        &self,
        near: impl AsyncRead + AsyncWrite,
        far: impl AsyncRead + AsyncWrite,
    ) -> io::Result<()> {
        let ((from_near, to_near), (from_far, to_far)) = (split(near), split(far));
        let requests = self.pass(Direction::Requests, from_near, to_far);
        let replies = self.pass(Direction::Replies, from_far, to_near);
        tokio::try_join!(biased; requests, replies).map(|_| ())
    }

    async fn pass(
        &self,
        direction: Direction,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let read = from.read(&mut buffer).await?;
            if read == 0 {
                return to.shutdown().await;
            }
            let (passing, is_cut) = self.link.burn(direction, read);
            let written = async {
                to.write_all(&buffer[..passing]).await?;
                to.flush().await
            };
            let written = written.await;
            if is_cut {
                self.link.cut_if_burnt(direction);
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            written?;
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.link.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}
