//! Options of TCP sockets.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Number of unanswered keepalive probes after which a connection is closed.
const PROBES_MAX: u32 = 3;

/// Shortest and longest time between two keepalive probes that Linux accepts.
const KEEPALIVE_MIN: Duration = Duration::from_secs(1);
const KEEPALIVE_MAX: Duration = Duration::from_secs(32_767);

/// Options of the TCP sockets of one requester or server. Zero leaves an option off.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SocketOptions {
    /// Time without traffic after which the first probe is sent, and time between two probes.
    pub(crate) keepalive: Duration,
    /// Longest time that sent bytes may stay unacknowledged. Linux only.
    pub(crate) user_timeout: Duration,
}

impl SocketOptions {
    /// Sets the options of a socket. A system that refuses one of them leaves it off: the connection
    /// works without, and its end is noticed later.
    pub(crate) fn apply(self, stream: &TcpStream) {
        let socket = SockRef::from(stream);
        if !self.keepalive.is_zero() {
            let pause = self.keepalive.clamp(KEEPALIVE_MIN, KEEPALIVE_MAX);
            let keepalive = TcpKeepalive::new().with_time(pause).with_interval(pause);
            let _ = socket.set_tcp_keepalive(&keepalive.with_retries(PROBES_MAX));
        }
        #[cfg(target_os = "linux")]
        if !self.user_timeout.is_zero() {
            // Linux takes milliseconds as an `int`; 0 would mean its default.
            let max = Duration::from_millis(i32::MAX as u64);
            let timeout = self.user_timeout.clamp(Duration::from_millis(1), max);
            let _ = socket.set_tcp_user_timeout(Some(timeout));
        }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// The options of a socket: idle time, interval, probes and user timeout.
    type Found = (bool, Duration, Duration, u32, Option<Duration>);

    #[allow(clippy::unwrap_used, reason = "helper of a test, outside of any test function")]
    async fn found(options: SocketOptions) -> Found {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        options.apply(&stream);
        let socket = SockRef::from(&stream);
        (
            socket.keepalive().unwrap(),
            socket.tcp_keepalive_time().unwrap(),
            socket.tcp_keepalive_interval().unwrap(),
            socket.tcp_keepalive_retries().unwrap(),
            socket.tcp_user_timeout().unwrap(),
        )
    }

    #[tokio::test]
    async fn a_socket_has_the_options_that_are_given_within_the_limits_of_the_system() {
        let secs = Duration::from_secs;
        let (untouched, ..) = found(SocketOptions::default()).await;
        assert!(!untouched);
        assert_eq!(found(SocketOptions::default()).await.4.unwrap_or_default(), Duration::ZERO);
        let given = SocketOptions { keepalive: secs(15), user_timeout: secs(30) };
        assert_eq!(found(given).await, (true, secs(15), secs(15), 3, Some(secs(30))));
        let tiny = SocketOptions {
            keepalive: Duration::from_micros(1),
            user_timeout: Duration::from_micros(1),
        };
        let millisecond = Some(Duration::from_millis(1));
        assert_eq!(found(tiny).await, (true, secs(1), secs(1), 3, millisecond));
        let huge = SocketOptions { keepalive: Duration::MAX, user_timeout: Duration::MAX };
        let longest = Some(Duration::from_millis(i32::MAX as u64));
        assert_eq!(found(huge).await, (true, secs(32_767), secs(32_767), 3, longest));
    }
}
