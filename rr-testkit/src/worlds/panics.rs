//! Panics of a world: those of its handlers and tasks, which the runtime contains.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::sync::Once;

/// Panics that a report tells: the first ones tell what is wrong.
const PANICS_MAX: usize = 10;

/// Panic of a world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Panic {
    pub(super) message: String,
    /// Such as `src/shop.rs:12:5`.
    place: String,
    /// Whether neither a handler nor the scenario was running: its caller does not learn of it.
    pub(super) is_of_task: bool,
}

thread_local! {
    /// Whether panics on this thread belong to a world, which reports them itself.
    static IS_SILENT: Cell<bool> = const { Cell::new(false) };

    /// Whether the code that runs belongs to a handler or to the scenario.
    static IS_CONTAINED: Cell<bool> = const { Cell::new(false) };

    /// Panics of the world that runs on this thread; `None` if none runs.
    static PANICS: RefCell<Option<Vec<Panic>>> = const { RefCell::new(None) };
}

/// Runs a world without the messages that panics print: many worlds may fail, and one is reported.
pub(super) fn silently<T>(run: impl FnOnce() -> T) -> T {
    install();
    let before = IS_SILENT.replace(true);
    let output = run();
    IS_SILENT.set(before);
    output
}

/// Marks the panics of a future as those of a handler or of the scenario.
pub(super) fn contained<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let mut future = Box::pin(future);
    poll_fn(move |cx| {
        let _inside = Inside(IS_CONTAINED.replace(true));
        future.as_mut().poll(cx)
    })
}

/// Guard of code that belongs to a handler or to the scenario; holds what surrounds it.
struct Inside(bool);

impl Drop for Inside {
    fn drop(&mut self) {
        IS_CONTAINED.set(self.0);
    }
}

/// Panics on this thread from a time on.
pub(super) struct Notes {
    /// Those of the world in which this one runs.
    before: Option<Vec<Panic>>,
}

impl Notes {
    pub(super) fn begin() -> Self {
        install();
        Self { before: PANICS.replace(Some(Vec::new())) }
    }

    /// Returns the first different ones.
    pub(super) fn end(self) -> Vec<Panic> {
        PANICS.replace(self.before).unwrap_or_default()
    }
}

fn install() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            note(info);
            if !IS_SILENT.get() {
                before(info);
            }
        }));
    });
}

fn note(info: &PanicHookInfo<'_>) {
    PANICS.with_borrow_mut(|panics| {
        let is_of_task = !IS_CONTAINED.get();
        let is_told = |panics: &Vec<Panic>| {
            let is_first_of_task = is_of_task && !panics.iter().any(|panic| panic.is_of_task);
            panics.len() < PANICS_MAX || is_first_of_task
        };
        let Some(panics) = panics.as_mut().filter(|panics| is_told(panics)) else { return };
        let place = info.location().map_or_else(String::new, ToString::to_string);
        let panic = Panic { message: message(info.payload()), place, is_of_task };
        if !panics.contains(&panic) {
            panics.push(panic);
        }
    });
}

pub(super) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a message".to_owned())
}

impl std::fmt::Display for Panic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a panic at {}: {}", self.place, self.message)
    }
}
