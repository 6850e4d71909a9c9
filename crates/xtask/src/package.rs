//! `cargo xtask package`: a Debian package of the daemon, for those who bring
//! their own Linux: the program, its manual, a hardened unit for systemd.
//!
//! The program is that of the appliance and needs no library, so the package
//! fits any Debian of today. Never installs anything. The same bytes from the
//! same inputs: owner root, a fixed time.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::image::{self, call, output, tool};
use crate::machine;

/// What packs it and looks at it.
const TOOLS: [machine::Program; 3] = [
    ("cc", "gcc libc6-dev", "builds the cryptography"),
    ("dpkg-deb", "dpkg", "packs"),
    ("gzip", "gzip", "packs the manual"),
];
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The first of January 2026.
const TIME: &str = "1767225600";
/// What systemd may find exposed about the unit, of 100, before that is too much.
const EXPOSURE_MAX: &str = "20";

/// Builds the package, looks at what is in it, and says where it is.
///
/// # Errors
/// What is missing or wrong.
pub fn run(root: &Path) -> io::Result<()> {
    machine::provide(&TOOLS, "without them there is no package");
    let out = image::folder(root);
    fs::create_dir_all(&out)?;
    let program = image::programs(root)?.join("ringpost");
    let package = pack(root, &program, &out)?;
    print!("{}", output(Command::new("dpkg-deb").arg("-c").arg(&package))?);
    look_at_unit(&out.join("package"))?;
    println!("{}", package.display());
    Ok(())
}

/// Puts the package together around `program`.
fn pack(root: &Path, program: &Path, out: &Path) -> io::Result<PathBuf> {
    let (from, stage) = (root.join("appliance/debian"), out.join("package"));
    let _ = fs::remove_dir_all(&stage);
    for (file, place, mode) in [
        (program.to_owned(), "usr/bin/ringpost", 0o755),
        (from.join("ringpost.service"), "usr/lib/systemd/system/ringpost.service", 0o644),
        (from.join("ringpost.toml"), "etc/ringpost/ringpost.toml", 0o640),
        (root.join("docs/ringpost.1"), "usr/share/man/man1/ringpost.1", 0o644),
        (root.join("docs/settings.md"), "usr/share/doc/ringpost/settings.md", 0o644),
        (root.join("docs/events.md"), "usr/share/doc/ringpost/events.md", 0o644),
        (root.join("docs/events.schema.json"), "usr/share/doc/ringpost/events.schema.json", 0o644),
        (from.join("postinst"), "DEBIAN/postinst", 0o755),
        (from.join("prerm"), "DEBIAN/prerm", 0o755),
        (from.join("postrm"), "DEBIAN/postrm", 0o755),
    ] {
        install(&file, &stage.join(place), mode)?;
    }
    call(Command::new("gzip").args(["-9n"]).arg(stage.join("usr/share/man/man1/ringpost.1")))?;
    fs::write(stage.join("DEBIAN/conffiles"), "/etc/ringpost/ringpost.toml\n")?;
    let kib = fs::metadata(program)?.len().div_ceil(1_024);
    fs::write(stage.join("DEBIAN/control"), control(kib))?;
    let package = out.join(format!("ringpost_{VERSION}_amd64.deb"));
    let mut dpkg = tool("dpkg-deb");
    dpkg.env("SOURCE_DATE_EPOCH", TIME).args(["--root-owner-group", "-Zxz", "--build"]);
    call(dpkg.arg(&stage).arg(&package).stdout(std::process::Stdio::null()))?;
    Ok(package)
}

fn control(kib: u64) -> String {
    format!(
        "Package: ringpost\nVersion: {VERSION}\nArchitecture: amd64\nSection: mail\n\
         Priority: optional\nInstalled-Size: {kib}\nDepends: passwd\nMaintainer: Ringpost\n\
         Description: send-only mail transfer agent\n \
         Takes outgoing mail by SMTP, writes it to disk before it says 250, and delivers\n \
         it to the recipients' mail exchangers or through a relay. It needs Linux 5.8 or\n \
         later with io_uring.\n"
    )
}

/// Lets systemd read the unit and judge it, where it is there to.
fn look_at_unit(stage: &Path) -> io::Result<()> {
    if output(tool("systemd-analyze").arg("--version")).is_err() {
        println!("systemd is not here to judge the unit");
        return Ok(());
    }
    let unit = stage.join("usr/lib/systemd/system/ringpost.service");
    let said = output(
        tool("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager"])
            .arg(format!("--threshold={EXPOSURE_MAX}"))
            .arg(unit),
    )?;
    println!("{}", said.lines().last().unwrap_or_default());
    Ok(())
}

fn install(from: &Path, to: &Path, mode: u32) -> io::Result<()> {
    let why = |error| io::Error::other(format!("{}: {error}", from.display()));
    let mut folder = to.parent().expect("it has a place").to_owned();
    fs::create_dir_all(&folder)?;
    // Whatever the builder's umask is.
    while folder.file_name().is_some_and(|name| name != "package") {
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
        folder.pop();
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
    fs::write(to, fs::read(from).map_err(why)?)?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(name: &str) -> (PathBuf, PathBuf) {
        let out = std::env::temp_dir().join(format!("ringpost-{name}-{}", std::process::id()));
        fs::create_dir_all(&out).unwrap();
        let program = out.join("program");
        fs::write(&program, "stands for the program").unwrap();
        (pack(&crate::workspace(), &program, &out).unwrap(), out)
    }

    #[test]
    fn a_package_holds_program_unit_manual_and_configuration() {
        let (package, out) = packed("package");
        let list = output(Command::new("dpkg-deb").arg("-c").arg(&package)).unwrap();
        for (mode, path) in [
            ("-rwxr-xr-x root/root", "./usr/bin/ringpost"),
            ("-rw-r--r-- root/root", "./usr/lib/systemd/system/ringpost.service"),
            ("-rw-r--r-- root/root", "./usr/share/man/man1/ringpost.1.gz"),
            ("-rw-r----- root/root", "./etc/ringpost/ringpost.toml"),
        ] {
            let is_it = |line: &str| line.starts_with(mode) && line.ends_with(path);
            assert!(list.lines().any(is_it), "{mode} {path} in\n{list}");
        }
        let said = output(Command::new("dpkg-deb").arg("-I").arg(&package)).unwrap();
        assert!(said.contains(&format!("Version: {VERSION}")), "{said}");
        assert!(["postinst", "prerm", "postrm", "conffiles"].iter().all(|n| said.contains(n)));
        fs::remove_dir_all(out).unwrap();
    }

    #[test]
    fn the_same_inputs_make_the_same_package() {
        let ((one, out), (other, beside)) = (packed("one"), packed("other"));
        assert_eq!(fs::read(one).unwrap(), fs::read(other).unwrap());
        fs::remove_dir_all(out).unwrap();
        fs::remove_dir_all(beside).unwrap();
    }

    #[test]
    fn what_dpkg_runs_is_a_script() {
        for name in ["postinst", "prerm", "postrm"] {
            let script = crate::workspace().join("appliance/debian").join(name);
            call(Command::new("sh").arg("-n").arg(script)).unwrap();
        }
    }
}
