//! Something that several threads change, and others wait for.
//!
//! Never waits without an end.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A value and who waits for it to change.
#[derive(Debug, Default)]
pub struct Shared<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T> Shared<T> {
    /// Looks at the value.
    pub fn look(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the value, and wakes who waits.
    pub fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut self.look());
        self.changed.notify_all();
        result
    }

    /// Waits until the value is as wanted. False: `time` was over before.
    pub fn wait(&self, time: Duration, mut is_wanted: impl FnMut(&T) -> bool) -> bool {
        let waited = self.changed.wait_timeout_while(self.look(), time, |it| !is_wanted(it));
        let (value, _) = waited.unwrap_or_else(PoisonError::into_inner);
        is_wanted(&value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_waited_for_and_not_for_ever() {
        let shared = Shared::<u32>::default();
        assert!(!shared.wait(Duration::ZERO, |it| *it == 1));
        std::thread::scope(|scope| {
            scope.spawn(|| shared.change(|it| *it += 1));
            assert!(shared.wait(Duration::from_secs(60), |it| *it == 1));
        });
        assert_eq!(*shared.look(), 1);
    }
}
