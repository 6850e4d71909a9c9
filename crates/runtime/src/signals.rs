//! Signals as something to wait for: SIGTERM and SIGINT stop, SIGHUP reloads.
//!
//! They are blocked in the thread that takes them over, and in every thread
//! started after it, so that no handler ever runs anywhere.

use std::io;

use nix::sys::signal::{SigSet, Signal as Number};

/// What an operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: drain and end.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
}

/// The signals taken over.
#[derive(Debug)]
pub struct Signals(SigSet);

impl Signals {
    /// Takes the signals over; to be called before any thread is started.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn take() -> io::Result<Self> {
        let mut set = SigSet::empty();
        set.add(Number::SIGTERM);
        set.add(Number::SIGINT);
        set.add(Number::SIGHUP);
        set.thread_block()?;
        Ok(Self(set))
    }

    /// Waits for the next one.
    pub fn wait(&self) -> Signal {
        loop {
            match self.0.wait() {
                Ok(Number::SIGHUP) => return Signal::Reload,
                Ok(_) => return Signal::Stop,
                // Interrupted by a debugger or the like.
                Err(_) => {}
            }
        }
    }
}
