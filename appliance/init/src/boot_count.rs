//! How systemd-boot counts the boots of an image in the name of its file, and
//! what the file is called once the image was found good.
//!
//! `ringpost_1.0.0+3.efi` has three boots left, `ringpost_1.0.0+2-1.efi` two
//! after one; without a counter it is good. Never touches a file.
//!
//! Read first: the UAPI group's Boot Loader Specification, "Boot counting".

/// The firmware variable in which the loader says which counted file it booted.
pub const VARIABLE: &str = "LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// The variable in which it says which entry it booted, counted or not.
pub const ENTRY_VARIABLE: &str = "LoaderEntrySelected-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// The variable with the identity of the partition that it booted from.
pub const PARTITION_VARIABLE: &str = "LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// Characters of a path on the partition that we believe.
const PATH_CHARACTERS_MAX: usize = 255;

/// The text of a firmware variable as efivarfs shows it: four bytes of
/// attributes, then UTF-16, up to its first zero. None for anything else.
pub fn variable_text(bytes: &[u8]) -> Option<String> {
    let units: Vec<u16> = bytes
        .get(4..)?
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .take_while(|unit| *unit != 0)
        .take(PATH_CHARACTERS_MAX + 1)
        .collect();
    let text = String::from_utf16(&units).ok()?;
    (!text.is_empty() && units.len() <= PATH_CHARACTERS_MAX).then_some(text)
}

/// The parts of a path such as `\EFI\Linux\x.efi`, none of which leads astray.
pub fn path_parts(path: &str) -> Option<Vec<&str>> {
    let parts: Vec<&str> = path.trim_start_matches(['\\', '/']).split(['\\', '/']).collect();
    let plain = |part: &&str| !part.is_empty() && *part != "." && *part != "..";
    parts.iter().all(|part| plain(part) && !part.contains('\0')).then_some(parts)
}

/// The name of the same file without its counter; None if it has none.
pub fn without_counter(name: &str) -> Option<String> {
    let stem = name.strip_suffix(".efi")?;
    let (version, counter) = stem.rsplit_once('+')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let counted = match counter.split_once('-') {
        Some((left, done)) => is_number(left) && is_number(done),
        None => is_number(counter),
    };
    (counted && !version.is_empty()).then(|| format!("{version}.efi"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(text: &str) -> Vec<u8> {
        let units = text.encode_utf16().flat_map(u16::to_le_bytes);
        [6, 0, 0, 0].into_iter().chain(units).chain([0, 0]).collect()
    }

    #[test]
    fn a_good_image_loses_its_counter() {
        let good = Some("ringpost_1.0.0.efi".to_owned());
        assert_eq!(without_counter("ringpost_1.0.0+3.efi"), good);
        assert_eq!(without_counter("ringpost_1.0.0+2-1.efi"), good);
        assert_eq!(without_counter("ringpost_1.0.0+0-3.efi"), good);
    }

    #[test]
    fn what_has_no_counter_keeps_its_name() {
        for name in ["ringpost_1.0.0.efi", "a+b.efi", "a+3", "a+3-.efi", "a+-3.efi", "+3.efi", ""] {
            assert_eq!(without_counter(name), None, "{name}");
        }
        assert_eq!(without_counter("a+git+3.efi").as_deref(), Some("a+git.efi"));
    }

    #[test]
    fn the_loaders_path_is_read_and_a_strange_one_is_not() {
        let text = variable_text(&variable("\\EFI\\Linux\\ringpost_1+3.efi"));
        let text = text.expect("a variable as the loader writes it");
        assert_eq!(path_parts(&text), Some(vec!["EFI", "Linux", "ringpost_1+3.efi"]));
        assert_eq!(path_parts("\\EFI\\..\\x.efi"), None);
        assert_eq!(path_parts(""), None);
        assert_eq!(variable_text(&[6, 0, 0]), None);
        assert_eq!(variable_text(&[6, 0, 0, 0, 0, 0]), None);
        assert_eq!(variable_text(&[6, 0, 0, 0, 0x00, 0xd8]), None, "half a surrogate pair");
        assert!(variable_text(&variable(&"a".repeat(PATH_CHARACTERS_MAX))).is_some());
        assert_eq!(variable_text(&variable(&"a".repeat(PATH_CHARACTERS_MAX + 1))), None);
    }
}
