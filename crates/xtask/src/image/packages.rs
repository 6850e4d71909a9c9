//! Debian's packages as data: those of `appliance/packages.txt`, fetched from
//! the mirrors that this machine's apt knows, checked by digest, unpacked.
//!
//! Never installs one and never touches the machine's own apt: the suites are
//! others than the machine's, so lists, sources and cache are folders of ours.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{call, output, sha256, tool};

const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One line of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Package {
    suite: String,
    name: String,
    version: String,
    sha256: String,
}

/// All of them, unpacked into one folder.
pub struct Packages {
    folder: PathBuf,
    release: String,
}

impl Packages {
    /// Has them unpacked below `out`, from the cache there if they are in it.
    ///
    /// # Errors
    /// The list is wrong, or a digest differs; [`io::ErrorKind::NotFound`] where
    /// Debian does not offer what is on the list.
    pub fn provide(list: &Path, out: &Path) -> io::Result<Self> {
        let all = parse(&fs::read_to_string(list)?)?;
        let kernel = all.iter().find_map(|package| package.name.strip_prefix("linux-image-"));
        let release = kernel.ok_or_else(|| io::Error::other("no kernel in the list"))?.to_owned();
        let cache = out.join("packages");
        fs::create_dir_all(&cache)?;
        let missing: Vec<&Package> =
            all.iter().filter(|package| !cache.join(package.file()).exists()).collect();
        if !missing.is_empty() {
            fetch(&missing, &all, out, &cache)?;
        }
        let digests: String = all.iter().map(|package| &package.sha256[..8]).collect();
        let packages = Self { folder: out.join(format!("unpacked-{digests}")), release };
        if !packages.folder.exists() {
            packages.unpack(&all, &cache)?;
        }
        Ok(packages)
    }

    /// The kernel.
    pub fn kernel(&self) -> PathBuf {
        self.folder.join("boot").join(format!("vmlinuz-{}", self.release))
    }

    /// Its release, which its modules must have too.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// The folder that they are unpacked in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The loader's program that becomes the image around kernel and files.
    pub fn stub(&self) -> PathBuf {
        self.folder.join("usr/lib/systemd/boot/efi/linuxx64.efi.stub")
    }

    /// The loader that the firmware starts.
    pub fn loader(&self) -> PathBuf {
        self.folder.join("usr/lib/systemd/boot/efi/systemd-bootx64.efi")
    }

    fn unpack(&self, all: &[Package], cache: &Path) -> io::Result<()> {
        let half = self.folder.with_extension("half");
        let _ = fs::remove_dir_all(&half);
        fs::create_dir_all(&half)?;
        for package in all {
            let file = cache.join(package.file());
            let found = sha256(&file)?;
            if found != package.sha256 {
                fs::remove_file(&file)?;
                let why = format!("{}: sha256 {found}, not {}", package.file(), package.sha256);
                return Err(io::Error::other(why));
            }
            call(Command::new("dpkg-deb").arg("-x").arg(&file).arg(&half))?;
        }
        if !half.join("lib").exists() {
            symlink("usr/lib", half.join("lib"))?;
        }
        call(tool("depmod").arg("-b").arg(&half).arg(&self.release))?;
        fs::rename(&half, &self.folder)
    }
}

impl Package {
    fn file(&self) -> String {
        // apt writes the colon of an epoch as a browser would.
        format!("{}_{}_amd64.deb", self.name, self.version.replace(':', "%3a"))
    }
}

fn parse(list: &str) -> io::Result<Vec<Package>> {
    let said = |line: &&str| !line.trim().is_empty() && !line.starts_with('#');
    let package = |line: &str| match line.split_whitespace().collect::<Vec<_>>().as_slice() {
        [suite, name, version, sha256] if sha256.len() == 64 => Ok(Package {
            suite: (*suite).to_owned(),
            name: (*name).to_owned(),
            version: (*version).to_owned(),
            sha256: (*sha256).to_owned(),
        }),
        _ => Err(io::Error::other(format!("not suite, package, version, sha256: {line}"))),
    };
    list.lines().filter(said).map(package).collect()
}

/// Asks Debian for what is missing.
fn fetch(missing: &[&Package], all: &[Package], out: &Path, cache: &Path) -> io::Result<()> {
    let apt = out.join("apt");
    for folder in ["sources.d", "lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(apt.join(folder))?;
    }
    fs::write(apt.join("status"), "")?;
    fs::write(apt.join("sources.d/debian.sources"), sources(all, &mirrors()?))?;
    let ours = |words: &[String]| {
        let mut command = Command::new("apt-get");
        for (key, place) in [
            ("Dir::Etc::sourcelist", Path::new("/dev/null")),
            ("Dir::Etc::sourceparts", &apt.join("sources.d")),
            ("Dir::State::lists", &apt.join("lists")),
            ("Dir::State::status", &apt.join("status")),
            ("Dir::Cache", &apt.join("cache")),
        ] {
            command.arg("-o").arg(format!("{key}={}", place.display()));
        }
        command.args(["-qq", "-o", "APT::Architecture=amd64", "-o", "APT::Sandbox::User="]);
        command.args(["-o", "Acquire::Retries=3"]).args(words).current_dir(cache);
        command
    };
    call(&mut ours(&["update".to_owned()])).map_err(not_offered)?;
    for package in missing {
        println!("fetching {} {}", package.name, package.version);
        let wanted = format!("{}={}", package.name, package.version);
        call(&mut ours(&["download".to_owned(), wanted])).map_err(|error| {
            let why = "if Debian has a newer version, it belongs into appliance/packages.txt";
            not_offered(format!("{} {}: {error}; {why}", package.name, package.version))
        })?;
    }
    Ok(())
}

fn not_offered(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, why)
}

/// The mirrors of Debian and of its security updates that this machine uses.
fn mirrors() -> io::Result<[String; 2]> {
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]);
    let known = output(&mut command)?;
    let find = |end: &str| {
        let found = known.lines().find(|uri| uri.trim_end_matches('/').ends_with(end));
        found.map(str::to_owned).ok_or_else(|| {
            not_offered(format!("this machine's apt knows no mirror that ends in {end}"))
        })
    };
    Ok([find("/debian")?, find("/debian-security")?])
}

fn sources(all: &[Package], [debian, security]: &[String; 2]) -> String {
    let mut suites: Vec<&str> = all.iter().map(|package| &*package.suite).collect();
    suites.sort_unstable();
    suites.dedup();
    let source = |suite: &&str| {
        let mirror = if suite.ends_with("-security") { security } else { debian };
        format!(
            "Types: deb\nURIs: {mirror}\nSuites: {suite}\nComponents: main\n\
             Architectures: amd64\nSigned-By: {KEYS}\n\n"
        )
    };
    suites.iter().map(source).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_the_house_is_whole() {
        let text = fs::read_to_string(crate::workspace().join("appliance/packages.txt")).unwrap();
        let all = parse(&text).unwrap();
        assert!(all.iter().any(|package| package.name.starts_with("linux-image-")));
        assert!(all.iter().any(|package| package.file().starts_with("e2fsck-static_")));
    }

    #[test]
    fn a_line_that_is_none_is_refused() {
        assert!(parse("trixie a 1.0").is_err());
        assert!(parse("trixie a 1.0 short").is_err());
        let line = format!("trixie a 1:2.0 {}", "0".repeat(64));
        assert_eq!(parse(&line).unwrap()[0].file(), "a_1%3a2.0_amd64.deb");
    }

    #[test]
    fn each_suite_has_its_mirror_once() {
        let line = |suite: &str| format!("{suite} a 1 {}\n", "0".repeat(64));
        let list = line("stable") + &line("stable-security") + &line("stable");
        let mirrors = ["http://a.example/debian".into(), "http://a.example/debian-security".into()];
        let sources = sources(&parse(&list).unwrap(), &mirrors);
        assert_eq!(sources.matches("Types: deb").count(), 2);
        assert!(sources.contains("URIs: http://a.example/debian-security\nSuites: stable-sec"));
    }
}
