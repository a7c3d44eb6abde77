//! Panics: one of the storage engine is an error of the store, and any other is in the log.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::thread;

thread_local! {
    /// Whether a panic of this thread comes out of [`caught`] as an error.
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Runs what may panic. Whatever `work` was about must not be used after an error, which is what the panic said.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let was_caught = IS_CAUGHT.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    IS_CAUGHT.set(was_caught);
    result.map_err(|payload| message(&*payload).to_owned())
}

/// Has panics logged, in place of the lines that the standard library writes. Those that come out of [`caught`] are
/// told by whoever gets the error.
pub(crate) fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        if !IS_CAUGHT.get() {
            log(panic);
        }
    }));
}

fn log(panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let place = panic.location().map(ToString::to_string);
    let (place, cause) = (place.unwrap_or_default(), message(panic.payload()));
    // Taken only if RUST_BACKTRACE says so.
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => {
            tracing::error!(thread, place, cause, %backtrace, "a thread has panicked");
        }
        _ => tracing::error!(thread, place, cause, "a thread has panicked"),
    }
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&'static str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it does not say why")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_comes_out_as_what_it_said() {
        assert_eq!(caught(|| 7), Ok(7));
        let told = caught(|| panic!("the {} is wrong", "page"));
        assert_eq!(told, Err::<(), _>("the page is wrong".into()));
        let inner = caught(|| {
            let inner = caught(|| panic!("inner"));
            assert!(IS_CAUGHT.get(), "still inside");
            inner
        });
        assert_eq!(inner, Ok(Err::<(), _>("inner".into())));
        assert!(!IS_CAUGHT.get());
    }
}
