//! One glommio executor per shard: the tasks that feed its driver. The main
//! task empties the inbox, one ends turns, one is the shard's timer.
//!
//! Never shares anything but inboxes with other executors.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_lite::future;
use glommio::timer::Timer;
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};

use crate::contract::{Core, Store};
use crate::driver::{Driver, DriverParts, Handle};
use crate::error::StartError;
use crate::inbox::Inbox;
use crate::readiness::Readiness;

/// Memory registered with each executor's rings; small, since bodies never
/// pass through it, and within what an ordinary user may lock.
pub(crate) const IO_MEMORY_BYTES: usize = 64 << 10;
/// Operations in flight per ring.
pub(crate) const RING_DEPTH: usize = 1_024;
/// glommio's bound on how long ready tasks run before it looks at the rings.
/// Nothing here stays ready without going through the ring, so it hardly ever
/// strikes. It is not shorter because, struck at the wrong moment, an executor
/// parks with work to do until the next event (see `mailbox.rs`).
const PREEMPT_AFTER: Duration = Duration::from_millis(100);
/// Items taken from the inbox before sockets get their turn.
const MAIL_PER_TURN: usize = 64;
/// How long an ending executor waits for operations still in the kernel.
const SHUT_MAX: Duration = Duration::from_secs(2);

/// A shard's core and store, made on the shard's own thread: neither needs to
/// travel between threads.
pub type MakeShard = Box<dyn FnOnce() -> (Box<dyn Core>, Box<dyn Store>) + Send>;

/// Counts that other threads may read.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// Goes up whenever the executor turns.
    pub(crate) turns: AtomicU64,
}

/// Starts the executor of one shard on a thread of its own. `on_start` is
/// called there once the shard is up; it is dropped uncalled if that fails.
///
/// # Errors
/// [`StartError::LocalThread`] when no thread can be made.
pub(crate) fn start(
    placement: Placement,
    parts: DriverParts,
    pulse: Arc<Pulse>,
    make: MakeShard,
    on_start: Box<dyn FnOnce() + Send>,
) -> Result<ExecutorJoinHandle<()>, StartError> {
    LocalExecutorBuilder::new(placement)
        .name("shard")
        .io_memory(IO_MEMORY_BYTES)
        .ring_depth(RING_DEPTH)
        .preempt_timer(PREEMPT_AFTER)
        .spawn(move || run(parts, pulse, make, on_start))
        .map_err(|error| StartError::LocalThread { what: "a shard", reason: error.to_string() })
}

async fn run(
    parts: DriverParts,
    pulse: Arc<Pulse>,
    make: MakeShard,
    on_start: Box<dyn FnOnce() + Send>,
) {
    let inbox = parts.inboxes[usize::from(parts.shard.0)].clone();
    let (core, store) = make();
    let readiness = Readiness::new().expect("a shard starts before descriptors can run out");
    let readiness = Rc::new(readiness);
    let driver = Driver::new(parts, core, store, readiness.clone());
    let ending = Rc::new(Cell::new(false));
    glommio::spawn_local(sockets(driver.clone(), readiness, ending.clone())).detach();
    glommio::spawn_local(turns(driver.clone(), inbox.clone(), pulse, ending.clone())).detach();
    glommio::spawn_local(timer(driver.clone(), inbox.clone(), ending.clone())).detach();
    driver.borrow_mut().first_tick();
    on_start();
    let ear = inbox.ear().expect("a shard starts before descriptors can run out");
    while empty(&driver, &inbox) {
        inbox.rung(&ear).await;
    }
    shut(driver, &ending).await;
}

/// Empties the inbox. False when the executor is to end.
fn empty(driver: &Handle, inbox: &Inbox) -> bool {
    // The bell also rings for deadlines that have passed, and for the watchdog,
    // which only wants to see a turn.
    driver.borrow_mut().tick_if_due();
    driver.borrow_mut().read_unread();
    for _ in 0..MAIL_PER_TURN {
        let (mail, batch) = (inbox.take(), inbox.take_batch());
        if mail.is_none() && batch.is_none() {
            return true;
        }
        let mut driver = driver.borrow_mut();
        if let Some((from, batch)) = batch {
            driver.receive_batch(from, batch);
        }
        if let Some(mail) = mail
            && !driver.receive_mail(mail)
        {
            return false;
        }
    }
    // More may be there: come back after the sockets.
    inbox.ring();
    true
}

/// Reads sockets when they have something to read.
async fn sockets(driver: Handle, readiness: Rc<Readiness>, ending: Rc<Cell<bool>>) {
    let bells = driver.borrow().bells.clone();
    while !ending.get() {
        future::or(readiness.some(), bells.sockets.rung()).await;
        driver.borrow_mut().read_reported();
    }
}

/// Ends a turn whenever one was opened: this task is scheduled behind those
/// that were ready with the turn's first event, so theirs belong to it.
async fn turns(driver: Handle, inbox: Arc<Inbox>, pulse: Arc<Pulse>, ending: Rc<Cell<bool>>) {
    let bells = driver.borrow().bells.clone();
    while !ending.get() {
        bells.turn.rung().await;
        let more = driver.borrow_mut().end_turn();
        pulse.turns.fetch_add(1, Ordering::Relaxed);
        if more {
            // By way of the ring, so that sockets get their turn first.
            inbox.ring();
        }
    }
}

/// Wakes the core at its deadlines.
async fn timer(driver: Handle, inbox: Arc<Inbox>, ending: Rc<Cell<bool>>) {
    let bells = driver.borrow().bells.clone();
    while !ending.get() {
        let (armed, clock) = {
            let driver = driver.borrow();
            (driver.armed, driver.clock)
        };
        let Some(wake_at) = armed else {
            bells.timer.rung().await;
            continue;
        };
        let wait = clock.until(wake_at);
        if wait.is_zero() {
            // By way of the ring: a core that always wants to be called at
            // once must not keep the sockets waiting.
            driver.borrow_mut().armed = None;
            inbox.ring();
            continue;
        }
        let due = async {
            Timer::new(wait).await;
            true
        };
        let moved = async {
            bells.timer.rung().await;
            false
        };
        if future::or(due, moved).await {
            driver.borrow_mut().armed = None;
            driver.borrow_mut().tick_if_due();
        }
    }
}

/// Lets go of everything and waits until no task is left: an executor that
/// ends with operations in the kernel frees memory they still use.
async fn shut(driver: Handle, ending: &Cell<bool>) {
    driver.borrow_mut().shut();
    ending.set(true);
    let bells = driver.borrow().bells.clone();
    bells.turn.ring();
    bells.timer.ring();
    bells.sockets.ring();
    let emptied = async {
        while Rc::strong_count(&driver) > 1 {
            Timer::new(Duration::from_millis(1)).await;
        }
    };
    let late = async {
        Timer::new(SHUT_MAX).await;
    };
    future::or(emptied, late).await;
}
