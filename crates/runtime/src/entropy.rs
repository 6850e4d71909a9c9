//! The only reader of the machine's randomness. Everything else that looks
//! random comes out of a `base::Rng` seeded from here.

use crate::error::StartError;

/// 64 bits nobody can guess, for seeds.
///
/// # Errors
/// [`StartError::LocalEntropy`] when the kernel refuses.
pub fn seed() -> Result<u64, StartError> {
    let mut bytes = [0u8; 8];
    let got = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())
        .map_err(|error| StartError::LocalEntropy(error.into()))?;
    // The kernel never cuts a request of up to 256 bytes short.
    assert_eq!(got, bytes.len(), "getrandom was cut short");
    Ok(u64::from_ne_bytes(bytes))
}

/// 128 bits nobody can guess, for the salt of a password.
///
/// # Errors
/// [`StartError::LocalEntropy`] when the kernel refuses.
pub fn salt() -> Result<[u8; 16], StartError> {
    let [low, high] = [seed()?, seed()?].map(u64::to_ne_bytes);
    let mut salt = [0; 16];
    salt[..8].copy_from_slice(&low);
    salt[8..].copy_from_slice(&high);
    Ok(salt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_seeds_differ() {
        assert_ne!(seed().unwrap(), seed().unwrap());
    }
}
