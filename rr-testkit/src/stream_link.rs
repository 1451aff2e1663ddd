//! What lies between the two ends of a stream, and can be cut at any byte.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rr_spi::{CancelHandle, Cause, Context};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};

/// Most bytes that are carried at once: as much as hyper and async-nats read by default.
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

/// What lies between the two ends of streams, such as pipes within a process: it carries bytes, and
/// cuts every stream that it carries on command, at once or at a certain byte.
///
/// Cloning it shares it.
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
    /// The scope of what is open; replaced at each cut.
    scope: Mutex<(Context, CancelHandle)>,
    /// How many bytes still pass in one direction before the link is cut; it stays at 0 until it is.
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
    /// Makes a link that lets everything through.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Carries bytes between a requester's end and a server's until both have closed, one fails or
    /// the link is cut; then drops both. Does nothing but that while the link refuses.
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
            // How a stream ends is seen at its ends.
            let _ = span.run(span.copy(near, far)).await;
        }
    }

    /// Cuts every open stream, at whatever byte it is.
    pub fn cut(&self) {
        *lock(&self.0.fuse) = None;
        self.end_streams();
    }

    fn end_streams(&self) {
        let cut = std::mem::replace(&mut *lock(&self.0.scope), Context::background().child());
        // Outside of the lock: it wakes whoever carries.
        cut.1.cancel_with(Cause::PeerGone);
    }

    /// Cuts every open stream, and ends new ones at once until [`StreamLink::restore`].
    pub fn cut_and_refuse(&self) {
        self.0.refusing.store(true, Ordering::SeqCst);
        self.cut();
    }

    /// Cuts every open stream as soon as so many more bytes have passed in one direction, on all of
    /// them together; 0 lets none of the next ones pass. What is made afterwards is whole.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        *lock(&self.0.fuse) = Some((direction, bytes));
    }

    /// Lets new streams through again, and lets every byte of them pass.
    pub fn restore(&self) {
        *lock(&self.0.fuse) = None;
        self.0.refusing.store(false, Ordering::SeqCst);
    }

    /// Tells whether it ends new streams at once.
    #[must_use]
    pub fn is_refusing(&self) -> bool {
        self.0.refusing.load(Ordering::SeqCst)
    }

    /// Returns how many streams are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.open.load(Ordering::SeqCst)
    }

    /// Makes way for a stream, unless it refuses.
    pub(crate) fn open(&self) -> Option<Span> {
        // Taken before refusing is looked at: a cut in between then ends this stream too.
        let scope = lock(&self.0.scope).0.clone();
        if self.is_refusing() {
            return None;
        }
        self.0.open.fetch_add(1, Ordering::SeqCst);
        Some(Span { link: self.clone(), scope })
    }

    /// Returns how many of the bytes that were read pass, and whether the link is cut then.
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

    /// Cuts the link if its last byte has passed and nobody has cut or restored it since.
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

/// One open stream.
pub(crate) struct Span {
    link: StreamLink,
    scope: Context,
}

impl Span {
    /// Runs what belongs to the stream until its end or the next cut.
    pub(crate) async fn run(&self, work: impl Future<Output = io::Result<()>>) -> io::Result<()> {
        self.scope.race(work).await.unwrap_or_else(|_| Err(io::ErrorKind::ConnectionAborted.into()))
    }

    /// Carries bytes both ways; the end of one direction is passed on, and the other goes on.
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic cannot leave these values half-changed, as nothing foreign runs under a lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
