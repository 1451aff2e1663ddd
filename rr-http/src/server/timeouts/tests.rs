use super::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

async fn pass(millis: u64) {
    tokio::time::sleep(ms(millis)).await;
}

/// Timeouts of 300 ms for a write, 600 ms unused and 200 ms for a head.
fn monitor() -> Arc<ActivityMonitor> {
    let config = HttpServerConfig::default()
        .with_write_timeout(ms(300))
        .with_idle_timeout(ms(600))
        .with_header_read_timeout(ms(200));
    ActivityMonitor::new(&config, &BodyBudget::new(0), Duration::MAX)
}

#[tokio::test(start_paused = true)]
async fn an_unused_connection_ends_and_a_request_puts_that_off() {
    let monitor = monitor();
    pass(500).await;
    assert_eq!(monitor.check(), Check::Fine(ms(100)));
    let request = monitor.start_request();
    pass(5_000).await;
    // Nothing times out while a handler runs; the next check comes after the shortest timeout.
    assert_eq!(monitor.check(), Check::Fine(ms(200)));
    drop(request);
    pass(599).await;
    assert!(matches!(monitor.check(), Check::Fine(_)));
    pass(1).await;
    assert_eq!(monitor.check(), Check::Unused);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_has_begun_must_end_however_many_bytes_come() {
    let monitor = monitor();
    pass(400).await;
    for _ in 0..4 {
        monitor.received();
        assert!(matches!(monitor.check(), Check::Fine(_)));
        pass(50).await;
    }
    assert_eq!(monitor.check(), Check::Stuck);
    let request = monitor.start_request();
    // Bytes of a body do not count as a head.
    monitor.received();
    drop(request);
    pass(400).await;
    assert!(matches!(monitor.check(), Check::Fine(_)));
}

#[tokio::test(start_paused = true)]
async fn a_blocked_socket_is_stuck_unless_it_takes_all_or_enough() {
    let monitor = monitor();
    for take in
        [ActivityMonitor::flushed, |monitor: &ActivityMonitor| monitor.written(PROGRESS_BYTES_MIN)]
    {
        monitor.blocked();
        pass(250).await;
        monitor.written(PROGRESS_BYTES_MIN - 1);
        monitor.blocked();
        assert_eq!(monitor.check(), Check::Fine(ms(50)));
        take(&monitor);
    }
    monitor.blocked();
    assert!(!monitor.is_done());
    for _ in 0..10 {
        monitor.written(1);
        pass(30).await;
    }
    assert_eq!(monitor.check(), Check::Stuck);
    // The time during which the socket was blocked does not count as unused.
    monitor.flushed();
    pass(500).await;
    assert!(monitor.is_done() && matches!(monitor.check(), Check::Fine(_)));
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_does_not_move_on_is_stuck_wherever_it_waits() {
    let monitor = monitor();
    let mut first = monitor.start_reply(WriteRule::Progress);
    monitor.flush_timestamps();
    pass(250).await;
    first.record_moved(1);
    monitor.flush_timestamps();
    pass(250).await;
    assert_eq!(monitor.check(), Check::Fine(ms(50)));
    // Further replies do not restart the timeout.
    let second = monitor.start_reply(WriteRule::Progress);
    pass(50).await;
    assert_eq!(monitor.check(), Check::Stuck);
    drop((first, second));
    assert!(monitor.is_done());
    assert_eq!(monitor.check(), Check::Fine(ms(200)));
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_ended_its_stream_leaves_within_two_write_timeouts() {
    let monitor = monitor();
    for _ in 0..20 {
        // Each reply leaves in time, and together they keep the connection in use.
        let reply = monitor.start_reply(WriteRule::Whole);
        pass(150).await;
        assert!(!monitor.is_done() && matches!(monitor.check(), Check::Fine(_)));
        drop(reply);
    }
    let _stays = monitor.start_reply(WriteRule::Whole);
    let mut checks = 0;
    while monitor.check() != Check::Stuck {
        pass(50).await;
        // Other replies that leave do not restart the timeout.
        drop(monitor.start_reply(WriteRule::Whole));
        checks += 1;
    }
    assert!((6..=13).contains(&checks), "{checks}");
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_ended_its_stream_may_take_longer_while_it_makes_progress() {
    let monitor = monitor();
    let mut reply = monitor.start_reply(WriteRule::Whole);
    for _ in 0..10 {
        pass(250).await;
        reply.record_moved(PROGRESS_BYTES_MIN);
        assert!(matches!(monitor.check(), Check::Fine(_)));
    }
    let mut checks = 0;
    while monitor.check() != Check::Stuck {
        pass(50).await;
        // Too little to count as progress.
        reply.record_moved(1);
        checks += 1;
    }
    assert!((6..=13).contains(&checks), "{checks}");
    drop(reply);
    assert!(monitor.is_done());
}

#[tokio::test(start_paused = true)]
async fn timeouts_of_any_length_are_looked_after_now_and_then() {
    let config = HttpServerConfig::default()
        .with_write_timeout(Duration::MAX)
        .with_idle_timeout(Duration::MAX)
        .with_header_read_timeout(Duration::MAX);
    let monitor = ActivityMonitor::new(&config, &BodyBudget::new(0), Duration::MAX);
    pass(10).await;
    monitor.received();
    monitor.blocked();
    assert_eq!(monitor.check(), Check::Fine(CHECK_MAX));
    let config = HttpServerConfig::default().with_idle_timeout(Duration::ZERO);
    let monitor = ActivityMonitor::new(&config, &BodyBudget::new(0), Duration::MAX);
    assert_eq!(monitor.check(), Check::Unused);
    let _request = monitor.start_request();
    assert_eq!(monitor.check(), Check::Fine(CHECK_MIN));
}

#[tokio::test(start_paused = true)]
async fn an_age_is_noticed_when_it_comes_and_ends_nothing() {
    let config = HttpServerConfig::default();
    let monitor = ActivityMonitor::new(&config, &BodyBudget::new(0), ms(10_000));
    let _request = monitor.start_request();
    assert_eq!(monitor.first_check(), ms(10_000));
    pass(4_000).await;
    assert_eq!(monitor.check(), Check::Fine(ms(6_000)));
    assert!(!monitor.is_retired());
    pass(6_000).await;
    assert_eq!(monitor.check(), Check::Fine(ms(30_000)));
    assert!(monitor.is_retired());
}
