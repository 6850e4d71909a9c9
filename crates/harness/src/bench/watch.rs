//! A thread that looks at a server's accounts while it is under load.
//!
//! Looks four times a second at first, more seldom as a run gets long, so that
//! a soak does not fill a report and the looking costs nothing that counts.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::figures::Sample;
use super::usage::Usage;

/// Samples that a report keeps at most, about.
const SAMPLES_MAX: u64 = 400;
/// Time between two looks at first.
const LOOK: Duration = Duration::from_millis(250);

/// A watch on one process and its children.
#[derive(Debug)]
pub struct Watch {
    end: Sender<()>,
    thread: JoinHandle<Vec<Sample>>,
}

impl Watch {
    /// Watches `pid` from `began` on.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(pid: u32, began: Instant) -> std::io::Result<Self> {
        let (end, ended) = channel();
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(move || {
            let mut samples = vec![sample(pid, began)];
            loop {
                let pause = LOOK.max(began.elapsed() / SAMPLES_MAX as u32);
                match ended.recv_timeout(pause) {
                    Err(RecvTimeoutError::Timeout) => samples.push(sample(pid, began)),
                    _ => {
                        samples.push(sample(pid, began));
                        return samples;
                    }
                }
            }
        })?;
        Ok(Self { end, thread })
    }

    /// Everything seen.
    pub fn end(self) -> Vec<Sample> {
        // The thread has ended by itself if nobody listens.
        let _ = self.end.send(());
        self.thread.join().expect("the watching thread does not panic")
    }
}

fn sample(pid: u32, began: Instant) -> Sample {
    let usage = Usage::of(pid);
    Sample {
        at: began.elapsed().as_millis() as u64,
        user: usage.user,
        system: usage.system,
        anonymous: usage.anonymous,
        resident: usage.resident,
        descriptors: usage.descriptors,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_sees_its_begin_and_its_end() {
        let watch = Watch::start(std::process::id(), Instant::now()).unwrap();
        let samples = watch.end();
        assert!(samples.len() >= 2);
        assert!(samples.windows(2).all(|pair| pair[0].at <= pair[1].at));
        assert!(samples[0].anonymous > 0);
    }
}
