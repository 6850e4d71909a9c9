//! Mistakes planted on purpose, to prove that the simulator finds them: what
//! is never found by planting is never found at all.
//!
//! Never in a program that anybody runs: without `--cfg planted`, which only
//! `cargo xtask planted` gives to the compiler, [`planted`] is a constant
//! `false`, and what stands behind it is not compiled. With it, the program has
//! one mistake at a time, chosen by `plant`.
//!
//! Each mistake is one that somebody could really make, at the place where it
//! would be made; a test of the house sees to it that each is planted
//! somewhere in the pure rooms, and nowhere else.

/// Names all mistakes, each with the promise that it breaks (the program's
/// README lists them) and in words.
macro_rules! bugs {
    ($($name:ident breaks $promise:literal: $what:literal,)+) => {
        /// A mistake.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug {
            $(#[doc = $what] $name,)+
        }

        #[cfg(planted)]
        impl Bug {
            /// Every mistake.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// The number of the promise that it breaks, 1 to 8.
            pub const fn promise(self) -> u8 {
                match self { $(Self::$name => $promise,)+ }
            }

            /// What is wrong, in words.
            pub const fn what(self) -> &'static str {
                match self { $(Self::$name => $what,)+ }
            }
        }
    };
}

bugs! {
    // Durable accept.
    AnsweredBeforeSync breaks 1: "a client gets its 250 before the sync",
    SyncCoversLater breaks 1: "a sync is taken to cover what was appended after it began",
    SyncSkipped breaks 1: "of a segment left behind nobody waits for the sync",
    FailedSyncForgiven breaks 1: "a failed sync counts as a good one",
    LastRecipientDropped breaks 1: "the last recipient of a transaction is never queued",
    HandOffLost breaks 1: "after a restart nothing is handed to other shards",
    MisplacedLost breaks 1: "mail that has moved is dropped by who looks for it",
    SegmentRecycledAlive breaks 1: "mail that was moved once is not moved again",
    SegmentRetiredEarly breaks 1: "a segment goes before the copies of its mail are durable",
    // One final outcome.
    OutcomeForgotten breaks 2: "an outcome that the log refuses is dropped",
    OutcomeOfWrongRecipient breaks 2: "recovery goes by the order of outcomes, not their names",
    VerdictOfWrongRecipient breaks 2: "a second host's replies are counted from the first's",
    ExpiredInFlight breaks 2: "mail expires although an attempt is under way",
    RetryPastLifetime breaks 2: "the lifetime is looked at only after a failed attempt",
    HeldNeverExpires breaks 2: "held mail has no end",
    LifetimeRestarted breaks 2: "the lifetime begins anew with each hand-off",
    AttemptsForgotten breaks 2: "a restart forgets how often was tried",
    HoldForgotten breaks 2: "a restart forgets that mail is held",
    DeferralForgotten breaks 2: "a failure for now is not recorded",
    BouncedTwice breaks 2: "a report and the outcome that it tells are two records",
    NullSenderBounced breaks 2: "mail from nobody is reported on, to the postmaster",
    NotifyNeverForgotten breaks 2: "NOTIFY=NEVER is not heeded",
    ExpiryUnreported breaks 2: "nobody hears of mail that expired",
    DelayToldTwice breaks 2: "the mark of a delay notice is lost with the next failure",
    // Duplicates are named.
    InDoubtForgotten breaks 3: "nobody is told that an attempt was in doubt",
    AttemptUnrecorded breaks 3: "no attempt record is written before the dot",
    DotBeforeSync breaks 3: "the dot does not wait for the sync of its attempt record",
    // Only a 2xx to the dot means delivered.
    GoAheadIsDelivery breaks 2: "a 354 to the dot counts as delivered",
    QuitBehindDot breaks 2: "QUIT goes with the dot, and its 221 counts for both",
    // Limits hold.
    ConnectionLimitPassed breaks 4: "the shards together hold one permit too many",
    RatePassed breaks 4: "only the first message of a connection takes a token",
    PermitReturnDropped breaks 4: "permits do not come home",
    ClientLimitPassed breaks 4: "one client too many is let in",
    // Our shortage is not their failure.
    ShortageCounted breaks 5: "our own lack of sockets counts as an attempt",
    ServfailIsNone breaks 5: "SERVFAIL is taken for NXDOMAIN",
    TimeoutIsNone breaks 5: "a name server that is silent says that there is no such name",
    // Every wait has an end.
    HandshakeUntimed breaks 6: "the TLS handshake has no deadline",
    SlotLeaked breaks 6: "a connection that breaks with mail under way keeps its permit",
    SiteNeverWoken breaks 6: "a site that was down is not looked at again",
    // Changes are whole.
    PolicyOnOneShard breaks 7: "only the first shard takes a new configuration",
    // Bad input costs nothing.
    BareLfAccepted breaks 8: "a line feed alone ends a line of a message",
    DotsUnstuffedTwice breaks 8: "dots in chunks are not stuffed",
    FullDiskIsPermanent breaks 8: "a full disk answers 552",
    BodyTruncated breaks 8: "of a long body only the first 64 KiB are sent",
    BodyCrcSkipped breaks 8: "nobody looks at the checksums of bodies",
}

/// Whether this program's mistake is `bug`.
#[cfg(not(planted))]
#[inline(always)]
pub const fn planted(bug: Bug) -> bool {
    let _ = bug;
    false
}

#[cfg(not(planted))]
const _: () = assert!(!planted(Bug::SyncSkipped), "a program without the switch has no mistakes");

#[cfg(planted)]
pub use switch::{met, plant, planted};

/// The switch itself, one for the whole program.
#[cfg(planted)]
mod switch {
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    use super::Bug;

    const NONE: usize = usize::MAX;
    static PLANTED: AtomicUsize = AtomicUsize::new(NONE);
    static MET: AtomicU64 = AtomicU64::new(0);

    /// Makes `bug` this program's mistake; `None` mends it.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.store(bug.map_or(NONE, |bug| bug as usize), Ordering::SeqCst);
        MET.store(0, Ordering::SeqCst);
    }

    /// Whether this program's mistake is `bug`.
    pub fn planted(bug: Bug) -> bool {
        let here = PLANTED.load(Ordering::Relaxed) == bug as usize;
        if here {
            MET.fetch_add(1, Ordering::Relaxed);
        }
        here
    }

    /// How often the program came by its mistake since it was planted.
    pub fn met() -> u64 {
        MET.load(Ordering::Relaxed)
    }
}
