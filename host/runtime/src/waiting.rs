//! Waiting for what may take long: a coordinator that is out of reach, or that another host holds. Refuses to wait on after it was told to end.

use std::time::Duration;

use tokio::runtime::Handle;

/// How late the end of a wait is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Waits for a future on the io threads, unless `over` says that nobody is interested any more: then the future is dropped, and what it was about
/// may or may not have happened.
pub(crate) fn unless<T>(io: &Handle, over: &dyn Fn() -> bool, future: impl Future<Output = T>) -> Option<T> {
    io.block_on(async {
        let mut future = std::pin::pin!(future);
        loop {
            match tokio::time::timeout(LOOK_EVERY, &mut future).await {
                Ok(outcome) => return Some(outcome),
                Err(_) if over() => return None,
                Err(_) => {}
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_with_its_future_or_when_it_is_over() {
        let io = tokio::runtime::Runtime::new().unwrap();
        assert_eq!(unless(io.handle(), &|| true, async { 7 }), Some(7));
        assert_eq!(unless(io.handle(), &|| true, std::future::pending::<()>()), None);
        let asked = std::cell::Cell::new(0);
        let over = || {
            asked.set(asked.get() + 1);
            asked.get() > 2
        };
        assert_eq!(unless(io.handle(), &over, std::future::pending::<()>()), None);
        assert_eq!(asked.get(), 3);
    }
}
