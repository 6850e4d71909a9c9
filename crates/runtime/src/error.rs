//! Why the program could not start, each as a sentence an operator can act on.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A start that failed. Nothing was accepted and nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The kernel refuses io_uring.
    #[error(
        "this kernel or container does not let the program use io_uring ({0}); \
         Linux 5.8 or later is needed, kernel.io_uring_disabled must be 0, and a container's \
         seccomp profile must allow io_uring_setup"
    )]
    LocalIoUring(String),
    /// Too little memory may be locked.
    #[error(
        "only {have_kib} KiB of memory may be locked, {need_kib} KiB are needed for {shards} \
         shards: raise LimitMEMLOCK= of the service (ulimit -l), or run fewer shards"
    )]
    LocalLockedMemory {
        /// The limit, in KiB.
        have_kib: u64,
        /// What the shards need together, in KiB.
        need_kib: u64,
        /// Number of shards.
        shards: u16,
    },
    /// The kernel is too old.
    #[error("this is Linux {have}; 5.8 or later is needed, for io_uring")]
    LocalKernel {
        /// Its release.
        have: String,
    },
    /// Too few descriptors may be open.
    #[error(
        "only {have} descriptors (open files and connections) are allowed, {need} are needed at \
         least: raise LimitNOFILE= of the service (ulimit -Hn)"
    )]
    LocalDescriptors {
        /// The limit.
        have: u64,
        /// The least that makes sense.
        need: u64,
    },
    /// A listener's address is taken, or nobody may listen there.
    #[error("cannot listen on {address}: {reason}")]
    LocalListen {
        /// The address of the configuration.
        address: SocketAddr,
        /// Why, with a hint.
        reason: String,
    },
    /// A certificate or its key is of no use.
    #[error("{0}")]
    LocalCertificate(String),
    /// The control socket cannot be made.
    #[error("cannot make the control socket {}: {reason}", path.display())]
    LocalControlSocket {
        /// Where it should be.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// The log file cannot be opened.
    #[error("cannot open the log file {}: {reason}", path.display())]
    LocalLog {
        /// Where it should be.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// A small file of the data folder cannot be read.
    #[error(
        "{} cannot be used: {reason}; mend it, or move it away to start without what it says",
        path.display()
    )]
    LocalFile {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// No randomness.
    #[error("the kernel gives no random bytes: {0}")]
    LocalEntropy(io::Error),
    /// A thread or executor could not be started.
    #[error("cannot start {what}: {reason}")]
    LocalThread {
        /// What it was for.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// More shards than the program is built for, or none.
    #[error("{0} shards asked for; 1 to {max} are possible", max = base::limits::SHARDS_MAX)]
    MisuseShards(usize),
}
