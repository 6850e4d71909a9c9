//! xtext: how the DSN parameters carry any octet in plain ASCII.
//!
//! Values are checked on receipt and kept as received, so that they are passed
//! on unchanged; they are decoded only to be shown in a report. A value that
//! hides a line break or another control character is refused at the door, so
//! no decoded text can break out of the field it is printed in.
//!
//! Read first: RFC 3461 §4, RFC 6533 §3.

/// Why a text is not acceptable xtext.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XtextError {
    /// An octet that must be written as `+XX`, or one that is not UTF-8.
    #[error("a character that must be encoded as +XX")]
    PeerCharacter,
    /// `+` without two upper-case hexadecimal digits.
    #[error("'+' without two upper-case hexadecimal digits")]
    PeerHex,
    /// The decoded text has a control character or is not ASCII.
    #[error("the encoded text has a character that is not printable")]
    PeerHidden,
}

/// Checks `text` as xtext whose decoded form is printable ASCII (blanks
/// allowed). With `utf8`, characters beyond ASCII may stand unencoded
/// (RFC 6533 §3), control characters excepted.
///
/// # Errors
/// The first fault found.
pub fn check(text: &[u8], utf8: bool) -> Result<&str, XtextError> {
    let text = str::from_utf8(text).map_err(|_| XtextError::PeerCharacter)?;
    let mut rest = text.chars();
    while let Some(char) = rest.next() {
        match char {
            '+' => {
                let byte = hex_pair(rest.as_str().as_bytes()).ok_or(XtextError::PeerHex)?;
                if !matches!(byte, b'\t' | b' '..=b'~') {
                    return Err(XtextError::PeerHidden);
                }
                rest = rest.as_str()[2..].chars();
            }
            '=' => return Err(XtextError::PeerCharacter),
            '!'..='~' => {}
            _ if utf8 && !char.is_ascii() && !char.is_control() => {}
            _ => return Err(XtextError::PeerCharacter),
        }
    }
    Ok(text)
}

/// The text behind the encoding. What cannot be decoded stays as it is: the
/// text was checked when it came in, and a report is no place to fail.
pub fn decode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(plus) = rest.find('+') {
        out.push_str(&rest[..plus]);
        rest = &rest[plus + 1..];
        match hex_pair(rest.as_bytes()) {
            Some(byte) if byte.is_ascii() => {
                out.push(char::from(byte));
                rest = &rest[2..];
            }
            _ => out.push('+'),
        }
    }
    out.push_str(rest);
    out
}

/// The xtext form of `text`, appended to `out`. Characters beyond ASCII are
/// kept: they may stand in an `utf-8` address under SMTPUTF8 only.
pub fn encode(text: &str, out: &mut String) {
    for char in text.chars() {
        match char {
            '+' | '=' | '\0'..=' ' | '\x7f' => {
                out.push('+');
                out.push(HEX[usize::from(char as u8 >> 4)]);
                out.push(HEX[usize::from(char as u8 & 15)]);
            }
            _ => out.push(char),
        }
    }
}

const HEX: [char; 16] =
    ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];

fn hex_pair(text: &[u8]) -> Option<u8> {
    match text {
        [high, low, ..] => Some(hex_digit(*high)? << 4 | hex_digit(*low)?),
        _ => None,
    }
}

/// Upper case only (RFC 3461 §4): the value is passed on as received, and the
/// next host may hold us to it.
fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves: RFC 3461 §4
    /// Covers: A7.2
    #[test]
    fn xtext_is_checked_and_decoded() {
        for (text, decoded) in [
            ("", ""),
            ("plain", "plain"),
            ("a+2Bb+3D+20", "a+b= "),
            ("x+40y.example", "x@y.example"),
        ] {
            assert_eq!(check(text.as_bytes(), false), Ok(text));
            assert_eq!(decode(text), decoded);
            let mut again = String::new();
            encode(decoded, &mut again);
            assert_eq!(decode(&again), decoded);
        }
    }

    /// Covers: A1.13, A7.2, A7.3, B90
    #[test]
    fn hidden_line_breaks_and_bad_encodings_are_refused() {
        use XtextError::*;
        for (text, fault) in [
            ("a b", PeerCharacter),
            ("a=b", PeerCharacter),
            ("a\x7f", PeerCharacter),
            ("a\u{e9}", PeerCharacter),
            ("a+", PeerHex),
            ("a+4", PeerHex),
            ("a+4g", PeerHex),
            ("a+4a", PeerHex),
            ("a+\u{e9}9", PeerHex),
            ("a+0D+0Ab", PeerHidden),
            ("a+00", PeerHidden),
            ("a+1B", PeerHidden),
            ("a+7F", PeerHidden),
            ("a+C3+A9", PeerHidden),
        ] {
            assert_eq!(check(text.as_bytes(), false), Err(fault), "{text:?}");
        }
        assert_eq!(check(b"\xff", true), Err(PeerCharacter));
        assert_eq!(check("a\u{85}".as_bytes(), true), Err(PeerCharacter));
        assert_eq!(check("a\u{e9}".as_bytes(), true), Ok("a\u{e9}"));
    }

    #[test]
    fn decoding_never_fails() {
        assert_eq!(decode("a+zz+"), "a+zz+");
        assert_eq!(decode("+FF\u{e9}+41"), "+FF\u{e9}A");
    }
}
