//! Checks [`WakeFlag`] in every order in which threads can run it.

use loom::model::Builder;
use loom::sync::atomic::{self, AtomicBool, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

#[allow(clippy::duplicate_mod, reason = "once with the atomics of std, once with those of loom")]
#[path = "wake_flag.rs"]
mod wake_flag;

use wake_flag::WakeFlag;

/// Numbers of the two tasks of a test.
const TASKS: usize = 2;

struct Connection {
    flag: WakeFlag,
    /// Task that a wake wakes.
    task: Mutex<usize>,
    woken: [AtomicBool; TASKS],
    event: AtomicBool,
}

impl Connection {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            flag: WakeFlag::new(),
            task: Mutex::new(0),
            woken: [AtomicBool::new(false), AtomicBool::new(false)],
            event: AtomicBool::new(false),
        })
    }

    /// Stores the event with a relaxed order: only the flag orders it.
    fn happen(&self) {
        self.event.store(true, Ordering::Relaxed);
        if self.flag.wake(true) {
            let task = *self.task.lock().unwrap();
            self.woken[task].store(true, Ordering::Relaxed);
        }
    }

    /// Polls until a poll is quiet. Returns whether one of the polls has seen the event.
    fn poll(&self) -> bool {
        let mut has_seen = false;
        loop {
            self.flag.begin_poll();
            has_seen |= self.event.load(Ordering::Relaxed);
            if self.flag.end_poll() {
                return has_seen;
            }
        }
    }

    fn is_woken(&self, task: usize) -> bool {
        self.woken[task].load(Ordering::Relaxed)
    }
}

#[test]
fn an_event_is_seen_by_a_poll_or_wakes_the_task() {
    loom::model(|| {
        let connection = Connection::new();
        let happening = thread::spawn({
            let connection = Arc::clone(&connection);
            move || connection.happen()
        });
        let has_seen = connection.poll();
        happening.join().unwrap();
        assert!(has_seen || connection.is_woken(0));
    });
}

#[test]
fn of_two_events_the_task_is_woken_for_what_no_poll_has_seen() {
    // Without a bound, the orders of three threads take a minute.
    let mut bounded = Builder::new();
    bounded.preemption_bound = Some(3);
    bounded.check(|| {
        let connection = Connection::new();
        let happening = [0, 1].map(|_| {
            let connection = Arc::clone(&connection);
            thread::spawn(move || connection.happen())
        });
        let has_seen = connection.poll();
        for thread in happening {
            thread.join().unwrap();
        }
        assert!(has_seen || connection.is_woken(0));
        // A later poll sees it in any case.
        assert!(connection.poll());
    });
}

#[test]
fn a_wake_reaches_the_task_to_which_the_connection_is_handed() {
    loom::model(|| {
        let connection = Connection::new();
        let happening = thread::spawn({
            let connection = Arc::clone(&connection);
            move || connection.happen()
        });
        // As `SelfWake::hand_to`.
        *connection.task.lock().unwrap() = 1;
        if connection.flag.is_woken() {
            connection.woken[1].store(true, Ordering::Relaxed);
        }
        happening.join().unwrap();
        assert!(connection.is_woken(1));
    });
}
