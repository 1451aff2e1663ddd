//! Bodies: sent in one frame, and read as a whole within a limit. A body that arrives in one frame
//! is not copied.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

use crate::self_wake::{Leaves, poll_part};

/// Body whose bytes are all available.
#[derive(Debug)]
pub(crate) struct Whole<B>(Option<B>);

impl<B: Buf> Whole<B> {
    pub(crate) fn new(data: B) -> Self {
        Self(data.has_remaining().then_some(data))
    }

    pub(crate) const fn empty() -> Self {
        Self(None)
    }
}

impl<B: Buf + Unpin> Body for Whole<B> {
    type Data = B;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B>, Infallible>>> {
        Poll::Ready(self.0.take().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |data| data.remaining() as u64))
    }
}

/// Returns the next frame of a body.
pub(crate) async fn frame<B>(body: &mut B) -> Option<Result<Frame<B::Data>, B::Error>>
where
    B: Body + Unpin,
{
    poll_fn(|cx| {
        poll_part(cx, |cx| {
            let polled = Pin::new(&mut *body).poll_frame(cx);
            // Hyper ends a body of known length in the poll that returns its last frame. A body of
            // unknown length does not announce its last frame, and always wakes.
            let is_last = polled.is_ready() && body.is_end_stream();
            (polled, if is_last { Leaves::Nothing } else { Leaves::Work })
        })
    })
    .await
}

/// Failure to read a body.
#[derive(Debug)]
pub(crate) enum BodyError<E> {
    /// Longer than the limit, by its declared length or by the bytes that arrived.
    TooLarge,
    /// The connection failed.
    Broken(E),
}

/// Reads a body of at most `max` bytes. A body of one frame is returned without a copy.
pub(crate) async fn read<B>(body: &mut B, max: usize) -> Result<Bytes, BodyError<B::Error>>
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if body.size_hint().lower() > max as u64 {
        return Err(BodyError::TooLarge);
    }
    let Some(first) = data(body).await? else { return Ok(Bytes::new()) };
    if first.len() > max {
        return Err(BodyError::TooLarge);
    }
    if body.is_end_stream() {
        return Ok(first);
    }
    let Some(second) = data(body).await? else { return Ok(first) };
    // Boxed, so that it does not enlarge every call.
    Box::pin(collect(body, [first, second], max)).await
}

/// Reads at most `max` bytes of a body into `start`. Returns whether that was the whole body. If
/// the future is dropped, `start` keeps the bytes read so far.
pub(crate) async fn read_start<B>(body: &mut B, start: &mut Vec<u8>, max: usize) -> bool
where
    B: Body<Data = Bytes> + Unpin,
{
    loop {
        match data(body).await {
            Ok(None) => return true,
            Ok(Some(frame)) if frame.len() <= max - start.len() => start.extend_from_slice(&frame),
            Ok(Some(frame)) => {
                start.extend_from_slice(&frame[..max - start.len()]);
                return false;
            }
            Err(_) => return false,
        }
    }
}

/// Joins the frames of a longer body; allocates once if the length is known.
async fn collect<B>(
    body: &mut B,
    first: [Bytes; 2],
    max: usize,
) -> Result<Bytes, BodyError<B::Error>>
where
    B: Body<Data = Bytes> + Unpin,
{
    let known: usize = first.iter().map(Bytes::len).sum();
    let rest = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if known.saturating_add(rest) > max {
        return Err(BodyError::TooLarge);
    }
    let mut whole = Vec::with_capacity(known + rest);
    for frame in first {
        whole.extend_from_slice(&frame);
    }
    while let Some(frame) = data(body).await? {
        if frame.len() > max - whole.len() {
            return Err(BodyError::TooLarge);
        }
        whole.extend_from_slice(&frame);
    }
    Ok(whole.into())
}

/// Returns the next piece of data; trailers are skipped.
async fn data<B>(body: &mut B) -> Result<Option<Bytes>, BodyError<B::Error>>
where
    B: Body<Data = Bytes> + Unpin,
{
    loop {
        match frame(body).await {
            None => return Ok(None),
            Some(Err(error)) => return Err(BodyError::Broken(error)),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Body that a requester receives on an HTTP/2 stream.
#[derive(Debug)]
pub(crate) struct StreamBody {
    stream: h2::RecvStream,
    /// Bytes that the head declared and that have not arrived yet.
    length: Option<u64>,
}

impl StreamBody {
    pub(crate) fn new(stream: h2::RecvStream, length: Option<u64>) -> Self {
        Self { stream, length }
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let data = match ready!(self.stream.poll_data(cx)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            Some(Ok(data)) => data,
        };
        // The bytes have been taken out of the window: the peer may send as many again.
        let _ = self.stream.flow_control().release_capacity(data.len());
        if let Some(length) = &mut self.length {
            *length = length.saturating_sub(data.len() as u64);
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Body whose frames are all available; `exact` sets whether its head declares the length.
    struct Frames {
        frames: VecDeque<Bytes>,
        exact: bool,
    }

    impl Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.frames.pop_front().map(|frame| Ok(Frame::data(frame))))
        }

        fn size_hint(&self) -> SizeHint {
            let left = self.frames.iter().map(|frame| frame.len() as u64).sum();
            if self.exact { SizeHint::with_exact(left) } else { SizeHint::default() }
        }
    }

    fn frames(sizes: &[usize], exact: bool) -> Frames {
        let frames = sizes.iter().map(|&size| Bytes::from(vec![7; size])).collect();
        Frames { frames, exact }
    }

    async fn length(sizes: &[usize], exact: bool) -> Option<usize> {
        read(&mut frames(sizes, exact), 100).await.ok().map(|body| body.len())
    }

    #[tokio::test]
    async fn a_body_of_one_frame_is_not_copied() {
        let mut body = frames(&[100], false);
        let sent = body.frames[0].clone();
        let read = read(&mut body, 100).await.unwrap();
        assert_eq!(read.as_ptr(), sent.as_ptr());
    }

    #[tokio::test]
    async fn the_limit_counts_bytes_whatever_the_head_says() {
        for exact in [true, false] {
            assert_eq!(length(&[], exact).await, Some(0));
            assert_eq!(length(&[100], exact).await, Some(100));
            assert_eq!(length(&[40, 40, 20], exact).await, Some(100));
            assert_eq!(length(&[101], exact).await, None);
            assert_eq!(length(&[50, 51], exact).await, None);
            assert_eq!(length(&[40, 40, 21], exact).await, None);
        }
    }
}
