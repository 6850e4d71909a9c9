//! Small files of the kernel, read as far as they go and never further than a
//! bound.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Bytes read of any of them.
const BYTES_MAX: u64 = 4 << 20;

/// The text of a file; empty if it cannot be read.
pub fn text(path: impl AsRef<Path>) -> String {
    String::from_utf8_lossy(&bytes(path)).into_owned()
}

/// The bytes of a file; none if it cannot be read.
pub fn bytes(path: impl AsRef<Path>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        // What was read before an error is what there is.
        let _ = file.take(BYTES_MAX).read_to_end(&mut bytes);
    }
    bytes
}

/// The text of a file that holds one word.
pub fn word(path: impl AsRef<Path>) -> String {
    text(path).trim().to_owned()
}
