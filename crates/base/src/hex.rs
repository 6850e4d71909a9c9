//! Octets as hexadecimal digits, for digests, keys of requests and what is shown.

/// Each octet as two lower-case digits, the higher first: twice as long as `octets`.
pub fn encode(octets: &[u8]) -> String {
    octets.iter().flat_map(|octet| [octet >> 4, octet & 15]).map(digit).collect()
}

fn digit(value: u8) -> char {
    char::from(b"0123456789abcdef"[usize::from(value)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_octet_has_its_two_digits() {
        let all: Vec<u8> = (0..=u8::MAX).collect();
        let digits: String = all.iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(encode(&all), digits);
        assert_eq!(encode(b"\x00\x0f\xf0"), "000ff0");
        assert_eq!(encode(b""), "");
    }
}
