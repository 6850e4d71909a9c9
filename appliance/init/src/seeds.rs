//! What a start takes from the folder `ringpost` of the EFI partition where the
//! data partition has none: the configuration, and the files it names.
//!
//! Never touches a file. An update lies in the same folder and is no seed.

/// The files that every appliance has, and from which it knows what it is.
pub const FIRST: [&str; 2] = ["ringpost.toml", "network.conf"];
/// Certificates and keys taken at most.
pub const FILES_MAX: usize = 64;
/// Octets of one file.
pub const BYTES_MAX: u64 = 1 << 20;
/// Characters of a name.
const NAME_CHARACTERS_MAX: usize = 64;

/// Whether a file is a certificate or a key by its name.
pub fn is_certificate(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let ends = [".pem", ".key", ".crt"].iter().any(|end| name.to_ascii_lowercase().ends_with(end));
    ends && name.len() <= NAME_CHARACTERS_MAX && name.bytes().all(plain) && !name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_and_keys_are_taken_and_nothing_else() {
        for name in ["server.pem", "server.key", "authority.pem", "WILD.CRT", "a-b_c.2.pem"] {
            assert!(is_certificate(name), "{name}");
        }
        let long = format!("{}.pem", "a".repeat(NAME_CHARACTERS_MAX));
        for name in ["update", "ringpost.toml", ".pem", "a/b.pem", "a b.pem", "entropy", "", &long]
        {
            assert!(!is_certificate(name), "{name}");
        }
        assert!(is_certificate(&long[4..]));
    }
}
