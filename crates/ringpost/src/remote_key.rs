//! `ringpost remote-key`: all the certificates that control from elsewhere
//! takes, in one folder, so that setting it up is one command.
//!
//! Never replaces a key that is there unless asked to, and never the
//! authority's. Secret keys are for their owner's eyes: mode 0600.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use base::Wall;
use clap::Args;
use control::remote::PORT_USUAL;
use eventlog::rfc3339;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::new_file;

/// Arguments of `remote-key`.
#[derive(Debug, Args)]
pub struct RemoteKeyArgs {
    /// The folder; made if it is not there. What is in it is kept, so that it can be extended
    folder: PathBuf,
    /// A name or an address by which the daemon is reached, for its certificate; may be given more than once
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    /// Whom a client's certificate is made out to; may be given more than once
    #[arg(long = "client", value_name = "NAME", default_value = "operator")]
    clients: Vec<String>,
    /// How long the daemon's and the clients' are good
    #[arg(long, default_value_t = 730, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Make the daemon's and the clients' anew where they are there; the authority stays
    #[arg(long)]
    renew: bool,
}

/// A certificate and its key, in PEM.
struct Made {
    certificate: String,
    key: String,
}

/// The authority.
struct Authority {
    params: CertificateParams,
    key: KeyPair,
}

const AUTHORITY: &str = "authority";
const SERVER: &str = "server";
/// Years for which the authority is good.
const AUTHORITY_YEARS: u32 = 10;
/// Days before today from which on all of them are good: clocks differ.
const DAYS_BEFORE: u32 = 2;

/// Exit 0, or 1 with the reason.
pub fn run(args: &RemoteKeyArgs) -> ExitCode {
    match make(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(1)
        }
    }
}

fn make(args: &RemoteKeyArgs) -> Result<(), String> {
    let RemoteKeyArgs { folder, hosts, clients, days, renew } = args;
    if let Some(bad) = clients.iter().find(|name| !is_file_name(name)) {
        return Err(format!("{bad:?}: a client is called by letters, digits, `-`, `_`, `.`, `@`"));
    }
    let told = |error: io::Error| format!("{}: {error}", folder.display());
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(told)?;
    let has = |name: &str| folder.join(format!("{name}.pem")).exists();
    if hosts.is_empty() && !has(SERVER) {
        return Err(
            "name the daemon by --host NAME, as it is reached: its certificate is made out \
                    to that"
                .into(),
        );
    }
    let authority = match has(AUTHORITY) {
        true => known_authority(folder)?,
        false => new_authority(folder, &hosts[0])?,
    };
    if !hosts.is_empty() && (*renew || !has(SERVER)) {
        let made = server(&authority, hosts, *days)?;
        written(folder, SERVER, &made, *renew)?;
    } else if !hosts.is_empty() {
        println!("{SERVER}.pem is there and stays; --renew makes it anew");
    }
    for name in clients {
        if !*renew && has(name) {
            println!("{name}.pem is there and stays; --renew makes it anew");
            continue;
        }
        let made = client(&authority, name, *days)?;
        written(folder, name, &made, *renew)?;
    }
    let settings = folder.join("remote.conf");
    if let (Some(host), false) = (hosts.first(), settings.exists()) {
        let (ca, client) = (AUTHORITY, &clients[0]);
        let text = format!(
            "# For `ringpost --host`: as ~/.config/ringpost/remote.conf beside its files, or by RINGPOST_REMOTE.\n\
             host = {host}\nca = {ca}.pem\ncertificate = {client}.pem\nkey = {client}.key\n"
        );
        new_file::create(&settings, text.as_bytes(), 0o600).map_err(told)?;
        println!("{}", settings.display());
    }
    print!("{}", what_next(folder, hosts.first(), &clients[0]));
    Ok(())
}

fn what_next(folder: &Path, host: Option<&String>, client: &str) -> String {
    let shown = folder.display();
    let host = host.map_or("HOST", |host| host);
    format!(
        "\nThe daemon gets {SERVER}.pem, {SERVER}.key and {AUTHORITY}.pem, and in its configuration:\n\n\
         [control]\nlisten = [\"0.0.0.0:{PORT_USUAL}\"]   # better: the address of its management network\n\
         certificate = \"{SERVER}.pem\"\nkey = \"{SERVER}.key\"\nclient_authority = \"{AUTHORITY}.pem\"\n\n\
         You ask it by\n\n  ringpost status --host {host} --ca {shown}/{AUTHORITY}.pem \
         --certificate {shown}/{client}.pem --key {shown}/{client}.key\n\n\
         or by RINGPOST_REMOTE={shown}/remote.conf. Keep {AUTHORITY}.key to yourself, best on no \
         server: whoever has it can let anybody in.\n"
    )
}

/// The same rules as for a file that is put beside others.
fn is_file_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    let taken = [AUTHORITY, SERVER].contains(&name);
    !name.is_empty()
        && name.len() <= 64
        && !name.starts_with('.')
        && !taken
        && name.chars().all(plain)
}

fn new_authority(folder: &Path, host: &str) -> Result<Authority, String> {
    let authority = authority_named(&format!("Ringpost control of {host}"), key()?)?;
    let certificate = authority.params.self_signed(&authority.key).map_err(unmade)?;
    let key = authority.key.serialize_pem();
    written(folder, AUTHORITY, &Made { certificate: certificate.pem(), key }, false)?;
    Ok(authority)
}

/// The authority that was made here before.
fn known_authority(folder: &Path) -> Result<Authority, String> {
    let read = |end: &str| {
        let path = folder.join(format!("{AUTHORITY}.{end}"));
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let foreign = || format!("{AUTHORITY}.pem in {} was not made here", folder.display());
    let der =
        runtime::tls_server::first_certificate(read("pem")?.as_bytes()).ok_or_else(foreign)?;
    let name = control::certificate::common_name(&der).ok_or_else(foreign)?;
    if control::certificate::subject(&der) != Some(format!("CN={name}")) {
        return Err(foreign());
    }
    authority_named(&name, KeyPair::from_pem(&read("key")?).map_err(unmade)?)
}

/// What certificates say of their maker comes from here alone.
fn authority_named(name: &str, key: KeyPair) -> Result<Authority, String> {
    let mut params = params(name, Vec::new(), AUTHORITY_YEARS * 365)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(Authority { params, key })
}

fn server(authority: &Authority, hosts: &[String], days: u32) -> Result<Made, String> {
    let mut params = params(&hosts[0], hosts.to_vec(), days)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    signed(authority, params)
}

fn client(authority: &Authority, name: &str, days: u32) -> Result<Made, String> {
    let mut params = params(name, Vec::new(), days)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    signed(authority, params)
}

fn signed(authority: &Authority, mut params: CertificateParams) -> Result<Made, String> {
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let key = key()?;
    let issuer = Issuer::from_params(&authority.params, &authority.key);
    let certificate = params.signed_by(&key, &issuer).map_err(unmade)?;
    Ok(Made { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn params(name: &str, hosts: Vec<String>, days: u32) -> Result<CertificateParams, String> {
    let mut params = CertificateParams::new(hosts).map_err(unmade)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let day = Duration::from_secs(86_400);
    let begin = now.saturating_sub(day * DAYS_BEFORE);
    let (first, last) = (date(begin), date(now + day * days));
    params.not_before = rcgen::date_time_ymd(first.0, first.1, first.2);
    params.not_after = rcgen::date_time_ymd(last.0, last.1, last.2);
    Ok(params)
}

/// Year, month and day of a moment since 1970.
fn date(since: Duration) -> (i32, u8, u8) {
    let text = rfc3339(Wall::from_millis(0) + since);
    let (year, rest) = text.split_at(4);
    let part = |from: usize| rest.get(from..from + 2).and_then(|it| it.parse().ok()).unwrap_or(1);
    (year.parse().unwrap_or(1970), part(1), part(4))
}

fn key() -> Result<KeyPair, String> {
    KeyPair::generate().map_err(unmade)
}

fn unmade(error: rcgen::Error) -> String {
    format!("no certificate can be made: {error}")
}

fn written(folder: &Path, name: &str, made: &Made, over: bool) -> Result<(), String> {
    let files = [("key", &made.key, 0o600), ("pem", &made.certificate, 0o644)];
    for (end, text, mode) in files {
        let path = folder.join(format!("{name}.{end}"));
        let told = |error: io::Error| format!("{}: {error}", path.display());
        if over {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(told(error)),
                _ => {}
            }
        }
        new_file::create(&path, text.as_bytes(), mode).map_err(told)?;
        println!("{}", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn args(folder: &Path, hosts: &[&str], clients: &[&str], renew: bool) -> RemoteKeyArgs {
        let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (hosts, clients) = (all(hosts), all(clients));
        RemoteKeyArgs { folder: folder.to_path_buf(), hosts, clients, days: 30, renew }
    }

    #[test]
    fn a_folder_is_filled_once_and_extended_later() {
        let folder = std::env::temp_dir().join(format!("ringpost-keys-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        assert!(make(&args(&folder, &[], &["ann"], false)).unwrap_err().contains("--host"));
        make(&args(&folder, &["mx.example", "192.0.2.1"], &["ann"], false)).unwrap();
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
        let (authority, server) = (read("authority.pem"), read("server.pem"));
        for name in ["authority.key", "server.key", "ann.key"] {
            let mode = std::fs::metadata(folder.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        // Another operator, by the same authority.
        make(&args(&folder, &[], &["bob"], false)).unwrap();
        let subject = |name: &str| {
            let der = runtime::tls_server::first_certificate(&read(name)).unwrap();
            control::certificate::subject(&der)
        };
        assert_eq!(subject("bob.pem").as_deref(), Some("CN=bob"));
        assert_eq!(
            (read("authority.pem"), read("server.pem")),
            (authority.clone(), server.clone())
        );
        let ann = read("ann.pem");
        make(&args(&folder, &["mx.example"], &["ann"], true)).unwrap();
        assert_eq!(read("authority.pem"), authority);
        assert!(read("ann.pem") != ann && read("server.pem") != server);
        for bad in ["", "../x", "a b", "server", "authority", ".x"] {
            assert!(make(&args(&folder, &["a.example"], &[bad], false)).is_err(), "{bad}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
