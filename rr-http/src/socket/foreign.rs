//! Byte streams of the application. Their panics are contained.

use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Byte stream that an application can provide instead of a socket.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}

/// Stream of the application. A panic in one of its methods becomes an IO error, and a panic in its
/// drop is swallowed. Uncaught, it would end a task that other calls depend on, or abort the
/// process while another panic unwinds.
pub(crate) struct Foreign(Option<Box<dyn Stream>>);

impl Foreign {
    pub(crate) fn new(stream: impl Stream) -> Self {
        Self(Some(Box::new(stream)))
    }

    pub(crate) fn is_write_vectored(&self) -> bool {
        let asked = || self.0.as_ref().is_some_and(AsyncWrite::is_write_vectored);
        contained(asked).unwrap_or(false)
    }

    /// Polls the stream, and drops it if it panics.
    fn poll<T>(
        &mut self,
        poll: impl FnOnce(Pin<&mut dyn Stream>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let Some(stream) = &mut self.0 else { return Poll::Ready(Err(panicked())) };
        contained(|| poll(Pin::new(&mut **stream))).unwrap_or_else(|error| {
            self.close();
            Poll::Ready(Err(error))
        })
    }

    fn close(&mut self) {
        let stream = self.0.take();
        let _ = contained(|| drop(stream));
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.close();
    }
}

impl AsyncRead for Foreign {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll(|stream| stream.poll_read(cx, into))
    }
}

impl AsyncWrite for Foreign {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(|stream| stream.poll_write(cx, from))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|stream| stream.poll_shutdown(cx))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll(|stream| stream.poll_write_vectored(cx, from))
    }

    fn is_write_vectored(&self) -> bool {
        Self::is_write_vectored(self)
    }
}

/// Runs code of the application.
///
/// # Errors
///
/// When the code panics.
pub(crate) fn contained<T>(run: impl FnOnce() -> T) -> io::Result<T> {
    // A stream or a future that has panicked is not polled again, only dropped.
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        // Dropping the payload may panic too, and so may dropping the payload of that panic.
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            mem::forget(again);
        }
        panicked()
    })
}

pub(crate) fn panicked() -> io::Error {
    io::Error::other("the stream or its connector panicked")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Waker;

    use super::*;

    /// Stream whose every method panics.
    struct Panics(Arc<AtomicUsize>);

    impl Panics {
        fn panic(&self) -> ! {
            self.0.fetch_add(1, Ordering::SeqCst);
            panic!("of the application")
        }
    }

    impl AsyncRead for Panics {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.panic()
        }
    }

    impl AsyncWrite for Panics {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.panic()
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.panic()
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.panic()
        }

        fn is_write_vectored(&self) -> bool {
            self.panic()
        }
    }

    impl Drop for Panics {
        fn drop(&mut self) {
            self.panic()
        }
    }

    #[test]
    fn a_panic_of_a_stream_is_an_error_and_ends_it() {
        let panics = Arc::new(AtomicUsize::new(0));
        let mut stream = Foreign::new(Panics(Arc::clone(&panics)));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(!stream.is_write_vectored());
        for _ in 0..2 {
            let polled = Pin::new(&mut stream).poll_shutdown(&mut cx);
            assert!(matches!(polled, Poll::Ready(Err(_))), "{polled:?}");
        }
        drop(stream);
        assert_eq!(panics.load(Ordering::SeqCst), 3, "asked, shut down, dropped");
    }

    #[test]
    fn a_stream_that_panics_while_a_panic_unwinds_does_not_abort() {
        struct ShutsDown(Foreign);
        impl Drop for ShutsDown {
            fn drop(&mut self) {
                let mut cx = Context::from_waker(Waker::noop());
                let _ = Pin::new(&mut self.0).poll_shutdown(&mut cx);
            }
        }
        let panics = Arc::new(AtomicUsize::new(0));
        let stream = ShutsDown(Foreign::new(Panics(Arc::clone(&panics))));
        let unwinding = catch_unwind(AssertUnwindSafe(move || {
            let _held = stream;
            panic!("of a call");
        }));
        assert!(unwinding.is_err());
        assert_eq!(panics.load(Ordering::SeqCst), 2);
    }
}
