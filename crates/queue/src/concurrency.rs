//! How many connections a site gets: a window that grows by one after a window
//! full of successes, halves on trouble, and never leaves its fence. The same
//! idea as congestion control: find the peer's limit, stay near it, back off
//! fast.
//!
//! Invariant: 1 ≤ size ≤ limit.

/// Connections of a site nothing is known about.
const SIZE_START: u32 = 5;
/// Connections of a site that has just come back.
const SIZE_AFTER_DOWN: u32 = 2;

/// See the head of this file.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    size: u32,
    limit: u32,
    successes: u32,
}

impl Window {
    /// A window below `limit`; 0 counts as 1.
    pub(crate) fn new(limit: u32) -> Self {
        let limit = limit.max(1);
        Self { size: SIZE_START.min(limit), limit, successes: 0 }
    }

    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    /// Moves the fence, at once.
    pub(crate) fn set_limit(&mut self, limit: u32) {
        self.limit = limit.max(1);
        self.size = self.size.min(self.limit);
    }

    /// A transaction went well while `open` connections stood. A window that
    /// is not used proves nothing and does not grow.
    pub(crate) fn success(&mut self, open: u32) {
        if open < self.size {
            return;
        }
        self.successes += 1;
        if self.successes >= self.size {
            self.successes = 0;
            self.size = (self.size + 1).min(self.limit);
        }
    }

    /// The site showed that `open` connections, or one more, are too many.
    pub(crate) fn trouble(&mut self, open: u32) {
        self.size = (self.size.min(open.saturating_add(1)) / 2).max(1);
        self.successes = 0;
    }

    /// The site answers again after it was down.
    pub(crate) fn restart(&mut self) {
        self.size = SIZE_AFTER_DOWN.min(self.limit);
        self.successes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_of_successes_adds_one_up_to_the_fence() {
        let mut window = Window::new(7);
        assert_eq!(window.size(), 5);
        (0..4).for_each(|_| window.success(5));
        assert_eq!(window.size(), 5);
        window.success(5);
        assert_eq!(window.size(), 6);
        (0..1_000).for_each(|_| window.success(7));
        assert_eq!(window.size(), 7);
    }

    #[test]
    fn an_unused_window_does_not_grow() {
        let mut window = Window::new(20);
        (0..1_000).for_each(|_| window.success(4));
        assert_eq!(window.size(), 5);
    }

    /// Covers: B53
    #[test]
    fn trouble_halves_what_was_used_down_to_one() {
        let mut window = Window::new(20);
        (0..1_000).for_each(|_| window.success(20));
        assert_eq!(window.size(), 20);
        window.trouble(20);
        assert_eq!(window.size(), 10);
        window.trouble(5);
        assert_eq!(window.size(), 3, "the tenth was never reached");
        window.trouble(3);
        window.trouble(1);
        window.trouble(0);
        assert_eq!(window.size(), 1);
    }

    #[test]
    fn the_fence_moves_at_once_and_never_to_nothing() {
        let mut window = Window::new(0);
        assert_eq!((window.size(), window.limit()), (1, 1));
        window.set_limit(3);
        window.restart();
        assert_eq!(window.size(), 2);
        window.set_limit(1);
        assert_eq!(window.size(), 1);
        window.restart();
        assert_eq!(window.size(), 1);
    }
}
