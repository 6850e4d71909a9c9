//! What the machine must offer before anything is started, checked once, each
//! shortage a plain sentence.
//!
//! glommio reports a refused io_uring late or by a panic, so a throw-away
//! executor is tried first, on a thread of its own.

use glommio::{LocalExecutorBuilder, Placement};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::StartError;
use crate::executor::{IO_MEMORY_BYTES, RING_DEPTH};

/// Descriptors below which the daemon makes no sense.
const DESCRIPTORS_MIN: u64 = 1_024;
/// Locked memory without which glommio refuses to make an executor, in bytes.
/// What more shards need beyond it is missed gracefully: their buffers are
/// then not registered, and rings are not counted since Linux 5.12.
const LOCKED_BYTES_MIN: u64 = 512 << 10;
/// The first kernel with everything used here.
const KERNEL_MIN: (u32, u32) = (5, 8);

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Descriptors this process may have open at once.
    pub descriptors: u64,
}

/// Checks the machine; raises soft limits as far as they go.
///
/// # Errors
/// [`StartError::LocalDescriptors`], [`StartError::LocalLockedMemory`],
/// [`StartError::LocalKernel`], [`StartError::LocalIoUring`].
pub fn check(shards: u16) -> Result<Limits, StartError> {
    let descriptors = raise(Resource::Nofile);
    if descriptors < DESCRIPTORS_MIN {
        return Err(StartError::LocalDescriptors { have: descriptors, need: DESCRIPTORS_MIN });
    }
    let locked = raise(Resource::Memlock);
    if locked < LOCKED_BYTES_MIN {
        return Err(StartError::LocalLockedMemory {
            have_kib: locked >> 10,
            need_kib: LOCKED_BYTES_MIN >> 10,
            shards,
        });
    }
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    if kernel_version(&release).is_some_and(|version| version < KERNEL_MIN) {
        return Err(StartError::LocalKernel { have: release.into_owned() });
    }
    io_uring()?;
    Ok(Limits { descriptors })
}

/// Raises a soft limit to the hard one; what may be used then.
fn raise(resource: Resource) -> u64 {
    let limit = getrlimit(resource);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        // Where that is refused, the old limit stands.
        let _ = setrlimit(resource, raised);
    }
    getrlimit(resource).current.unwrap_or(u64::MAX)
}

/// `6.1.0-13-amd64` is 6.1; none where the text is strange, which is no
/// reason to refuse.
fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn io_uring() -> Result<(), StartError> {
    let tried = std::thread::Builder::new().name("probe".into()).spawn(|| {
        LocalExecutorBuilder::new(Placement::Unbound)
            .io_memory(IO_MEMORY_BYTES)
            .ring_depth(RING_DEPTH)
            .make()
            .map(drop)
            .map_err(|error| error.to_string())
    });
    let outcome = match tried {
        Ok(thread) => thread.join(),
        Err(error) => {
            return Err(StartError::LocalThread { what: "a probe", reason: error.to_string() });
        }
    };
    outcome
        .unwrap_or_else(|_| Err("the attempt failed badly".into()))
        .map_err(StartError::LocalIoUring)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_versions_are_read_from_all_kinds_of_names() {
        assert_eq!(kernel_version("6.1.0-13-amd64"), Some((6, 1)));
        assert_eq!(kernel_version("5.8.18"), Some((5, 8)));
        assert_eq!(kernel_version("4.19"), Some((4, 19)));
        assert_eq!(kernel_version("rolling"), None);
        assert!((4, 19) < KERNEL_MIN && (5, 8) >= KERNEL_MIN && (6, 1) >= KERNEL_MIN);
    }

    #[test]
    fn this_machine_will_do() {
        let limits = check(2).unwrap();
        assert!(limits.descriptors >= DESCRIPTORS_MIN);
        assert_eq!(Some(limits.descriptors), getrlimit(Resource::Nofile).current);
    }
}
