//! Which kernel modules a device asks for, and in which order they are loaded:
//! `modules.dep`, `modules.alias` and `modules.softdep` as depmod writes them.
//!
//! Never loads anything. A module comes after all that it needs, each once,
//! whatever circles the files hold. Without `modprobe` in the guest nobody else
//! honours soft dependencies, and xfs fails for want of its checksum.
//!
//! Read first: the manual pages modules.dep(5) and modprobe.d(5).

use std::collections::{BTreeMap, BTreeSet};

/// What depmod knows.
#[derive(Clone, Debug, Default)]
pub struct Modules {
    by_name: BTreeMap<String, Module>,
    aliases: Vec<(String, String)>,
    soft: BTreeMap<String, Soft>,
}

#[derive(Clone, Debug)]
struct Module {
    path: String,
    needs: Vec<String>,
}

#[derive(Clone, Debug, Default)]
struct Soft {
    before: Vec<String>,
    after: Vec<String>,
}

impl Modules {
    /// Reads the three files; lines that are none of theirs are passed over.
    pub fn parse(dep: &str, alias: &str, softdep: &str) -> Self {
        let mut modules = Self::default();
        for line in dep.lines() {
            let Some((path, needs)) = line.split_once(':') else { continue };
            let needs = needs.split_whitespace().map(name_of).collect();
            modules.by_name.insert(name_of(path), Module { path: path.to_owned(), needs });
        }
        for line in alias.lines() {
            let mut words = line.split_whitespace();
            if let (Some("alias"), Some(pattern), Some(name)) =
                (words.next(), words.next(), words.next())
            {
                modules.aliases.push((normal(pattern), normal(name)));
            }
        }
        for line in softdep.lines() {
            let mut words = line.split_whitespace();
            if let (Some("softdep"), Some(name)) = (words.next(), words.next()) {
                modules.soft.insert(normal(name), Soft::parse(words));
            }
        }
        modules
    }

    /// Names of the modules that `wanted` asks for: a device's alias, or a
    /// module's own name.
    pub fn matching(&self, wanted: &str) -> Vec<&str> {
        let wanted = normal(wanted);
        let mut names: Vec<&str> = Vec::new();
        if let Some((name, _)) = self.by_name.get_key_value(&wanted) {
            names.push(name);
        }
        for (pattern, name) in &self.aliases {
            if matches(pattern.as_bytes(), wanted.as_bytes()) && !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names
    }

    /// Paths of what is to be loaded for the module called `name`, itself
    /// included, in order; empty when it is unknown, which built-in ones are.
    pub fn load_order(&self, name: &str) -> Vec<&str> {
        let mut order = Vec::new();
        self.visit(&normal(name), &mut BTreeSet::new(), &mut order);
        order
    }

    fn visit<'a>(&'a self, name: &str, seen: &mut BTreeSet<String>, order: &mut Vec<&'a str>) {
        // A soft dependency may name an alias instead of a module.
        let Some(module) = self.by_name.get(name) else {
            if seen.insert(name.to_owned()) {
                for found in self.matching(name) {
                    self.visit(found, seen, order);
                }
            }
            return;
        };
        if !seen.insert(name.to_owned()) {
            return;
        }
        let soft = self.soft.get(name);
        for before in soft.iter().flat_map(|soft| &soft.before).chain(&module.needs) {
            self.visit(before, seen, order);
        }
        order.push(&module.path);
        for after in soft.iter().flat_map(|soft| &soft.after) {
            self.visit(after, seen, order);
        }
    }
}

impl Soft {
    fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Self {
        let mut soft = Self::default();
        let mut is_after = false;
        for word in words {
            match word {
                "pre:" => is_after = false,
                "post:" => is_after = true,
                name if is_after => soft.after.push(normal(name)),
                name => soft.before.push(normal(name)),
            }
        }
        soft
    }
}

/// `kernel/fs/ext4/ext4.ko.xz` is called `ext4`.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    normal(file.split_once(".ko").map_or(file, |(name, _)| name))
}

/// Dashes and underscores are one to the kernel, outside of brackets.
fn normal(name: &str) -> String {
    let mut in_brackets = false;
    name.chars()
        .map(|character| {
            in_brackets = (in_brackets || character == '[') && character != ']';
            if character == '-' && !in_brackets { '_' } else { character }
        })
        .collect()
}

/// Whether `text` is what the shell pattern says: `*`, `?`, `[a-z]`.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on when it fails: behind the last star, one byte further.
    let mut retry = None;
    while t < text.len() {
        match step(&pattern[p..], text[t]) {
            Step::Star => {
                p += 1;
                retry = Some((p, t));
            }
            Step::One(width) => {
                p += width;
                t += 1;
            }
            Step::No => match retry {
                Some((behind, from)) => {
                    p = behind;
                    t = from + 1;
                    retry = Some((behind, t));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

enum Step {
    Star,
    /// One byte matched by so many bytes of the pattern.
    One(usize),
    No,
}

fn step(pattern: &[u8], byte: u8) -> Step {
    match pattern.first() {
        None => Step::No,
        Some(b'*') => Step::Star,
        Some(b'?') => Step::One(1),
        Some(b'[') => match pattern.iter().position(|b| *b == b']') {
            Some(end) if in_set(&pattern[1..end], byte) => Step::One(end + 1),
            _ => Step::No,
        },
        Some(same) if *same == byte => Step::One(1),
        Some(_) => Step::No,
    }
}

fn in_set(set: &[u8], byte: u8) -> bool {
    let (mut at, mut found) = (0, false);
    while at < set.len() {
        if set.get(at + 1) == Some(&b'-') && at + 2 < set.len() {
            found |= (set[at]..=set[at + 2]).contains(&byte);
            at += 3;
        } else {
            found |= set[at] == byte;
            at += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "\
kernel/drivers/net/virtio_net.ko.xz: kernel/net/core/failover.ko.xz kernel/drivers/net/net_failover.ko.xz
kernel/drivers/net/net_failover.ko.xz: kernel/net/core/failover.ko.xz
kernel/net/core/failover.ko.xz:
kernel/fs/xfs/xfs.ko.xz: kernel/lib/libcrc32c.ko.xz
kernel/lib/libcrc32c.ko.xz:
kernel/crypto/crc32c-generic.ko.xz:
kernel/a.ko: kernel/b.ko
kernel/b.ko: kernel/a.ko
";
    const ALIAS: &str = "\
# Aliases extracted from modules themselves.
alias virtio:d00000001v* virtio_net
alias pci:v00008086d0000[12]5*sv* e1000e
alias fs-xfs xfs
alias crypto-crc32c crc32c_generic
";

    fn modules() -> Modules {
        Modules::parse(DEP, ALIAS, "# none\nsoftdep libcrc32c pre: crypto-crc32c\n")
    }

    #[test]
    fn a_module_comes_after_all_that_it_needs() {
        let modules = modules();
        let expected = [
            "kernel/net/core/failover.ko.xz",
            "kernel/drivers/net/net_failover.ko.xz",
            "kernel/drivers/net/virtio_net.ko.xz",
        ];
        assert_eq!(modules.load_order("virtio-net"), expected);
    }

    #[test]
    fn a_soft_dependency_by_alias_comes_before() {
        let expected = [
            "kernel/crypto/crc32c-generic.ko.xz",
            "kernel/lib/libcrc32c.ko.xz",
            "kernel/fs/xfs/xfs.ko.xz",
        ];
        assert_eq!(modules().load_order("xfs"), expected);
    }

    #[test]
    fn a_circle_ends_and_the_unknown_is_nothing() {
        assert_eq!(modules().load_order("a"), ["kernel/b.ko", "kernel/a.ko"]);
        assert!(modules().load_order("ext4").is_empty());
        assert!(modules().load_order("").is_empty());
    }

    #[test]
    fn a_device_finds_its_module_by_pattern() {
        let modules = modules();
        assert_eq!(modules.matching("virtio:d00000001v00001AF4"), ["virtio_net"]);
        assert_eq!(modules.matching("pci:v00008086d0000153Asv1"), ["e1000e"]);
        assert!(modules.matching("pci:v00008086d0000353Asv1").is_empty());
        assert_eq!(modules.matching("fs-xfs"), ["xfs"], "dashes are underscores");
        assert!(modules.matching("virtio:d00000002v1").is_empty());
    }

    #[test]
    fn patterns_are_those_of_the_shell() {
        let cases = [
            ("", "", true),
            ("*", "", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("*ab", "aab", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[0-9a]x", "ax", true),
            ("[0-9a]x", "bx", false),
            ("[", "[", false),
            ("a*", "b", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_of_stars_over_a_long_name_ends_soon() {
        let pattern = "*a".repeat(200) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(4_000).as_bytes()));
    }
}
