//! A disk over a Unix socket, in the protocol of network block devices, as far
//! as qemu speaks it: fixed newstyle negotiation, simple replies, one client at
//! a time.
//!
//! Never believes a length: what is longer than [`REQUEST_MAX`] ends the
//! connection.

use std::io::{self, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::disk::VolatileDisk;
use super::shared::Shared;

/// How long a flush takes: as long as on a real disk, during which the power may go.
const FLUSH_TIME: Duration = Duration::from_millis(4);
/// Longest request that is answered; qemu cuts what is longer.
const REQUEST_MAX: usize = 32 << 20;

const GREETING: u64 = u64::from_be_bytes(*b"NBDMAGIC");
const OPTION: u64 = u64::from_be_bytes(*b"IHAVEOPT");
const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
const REQUEST: u32 = 0x2560_9513;
const REPLY: u32 = 0x6744_6698;
/// The negotiation: fixed newstyle, and no padding behind an export.
const NEGOTIATION: u16 = 0b11;
/// The disk: flushes, and writes through its cache.
const DISK_FLAGS: u16 = 0b1101;
const THROUGH: u16 = 1;

/// Whether the disk has power, and what it did with it.
#[derive(Debug, Default)]
struct Power {
    is_off: bool,
    /// Requests since it was switched on.
    requests: u64,
    /// It goes off as soon as so many sectors are not flushed.
    off_at: Option<usize>,
}

/// One disk, on one socket.
pub struct Server {
    socket: PathBuf,
    disk: Arc<Mutex<VolatileDisk>>,
    power: Arc<Shared<Power>>,
    /// Held while there is a client.
    client: Arc<Mutex<()>>,
}

impl Server {
    /// Listens at `socket`; the thread that does ends with this program.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn start(socket: &Path, disk: VolatileDisk) -> io::Result<Self> {
        let _ = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket)?;
        let disk = Arc::new(Mutex::new(disk));
        let client = Arc::<Mutex<()>>::default();
        let power = Arc::<Shared<Power>>::default();
        let (served, used, there) = (Arc::clone(&disk), Arc::clone(&power), Arc::clone(&client));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let _there = locked(&there);
                // A client that was killed just leaves.
                let _ = serve(client, &served, &used);
            }
        });
        Ok(Self { socket: socket.to_owned(), disk, power, client })
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Does nothing more, nor answers, not even a flush under way.
    pub fn switch_off(&self) {
        self.power.change(|power| power.is_off = true);
    }

    /// Switches itself off as soon as so many sectors are not flushed, at the end of
    /// `time` whatever they are.
    pub fn switch_off_amid(&self, unflushed: usize, time: Duration) {
        self.power.change(|power| power.off_at = Some(unflushed));
        self.power.wait(time, |power| power.is_off);
        self.switch_off();
    }

    /// Serves the next client.
    pub fn switch_on(&self) {
        self.power.change(|power| *power = Power::default());
    }

    /// Requests that it has answered since it was switched on.
    pub fn requests(&self) -> u64 {
        self.power.look().requests
    }

    /// Waits until it has answered so many requests since it was switched on.
    /// False: `time` was over before.
    pub fn wait(&self, requests: u64, time: Duration) -> bool {
        self.power.wait(time, |power| power.requests >= requests)
    }

    /// The disk, once its client is gone and all that it had asked for is done.
    pub fn disk(&self) -> MutexGuard<'_, VolatileDisk> {
        drop(locked(&self.client));
        locked(&self.disk)
    }
}

fn locked<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(client: UnixStream, disk: &Mutex<VolatileDisk>, power: &Shared<Power>) -> io::Result<()> {
    let mut to = client.try_clone()?;
    let mut from = BufReader::new(client);
    negotiate(&mut from, &mut to, locked(disk).bytes())?;
    while answer(&mut from, &mut to, disk, power)? {}
    // Whoever is still there waits until its own power goes.
    io::copy(&mut from, &mut io::sink()).map(drop)
}

/// Until the client has chosen the one disk there is.
fn negotiate(from: &mut impl Read, to: &mut impl Write, bytes: u64) -> io::Result<()> {
    to.write_all(&[GREETING.to_be_bytes(), OPTION.to_be_bytes()].concat())?;
    to.write_all(&NEGOTIATION.to_be_bytes())?;
    let _flags = u32::from_be_bytes(take(from)?);
    loop {
        if u64::from_be_bytes(take(from)?) != OPTION {
            return Err(io::Error::other("no option"));
        }
        let option = u32::from_be_bytes(take(from)?);
        let length = u32::from_be_bytes(take(from)?);
        let data = take_many(from, length)?;
        let mut reply = |kind: u32, data: &[u8]| {
            let mut words = OPTION_REPLY.to_be_bytes().to_vec();
            words.extend([option, kind, data.len() as u32].into_iter().flat_map(u32::to_be_bytes));
            words.extend_from_slice(data);
            to.write_all(&words)
        };
        let mut export = bytes.to_be_bytes().to_vec();
        export.extend(DISK_FLAGS.to_be_bytes());
        match option {
            // By name, the old way: no reply but the disk's size.
            1 => return to.write_all(&export),
            2 => return Err(io::Error::other("the client gave up")),
            // Info and go: one piece of information, then that it is over.
            6 | 7 if data.len() >= 6 => {
                reply(3, &[&[0, 0], &export[..]].concat())?;
                reply(1, &[])?;
                if option == 7 {
                    return Ok(());
                }
            }
            _ => reply(1 << 31 | 1, &[])?,
        }
    }
}

/// Answers one request. False: there are no more answers.
fn answer(
    from: &mut impl Read,
    to: &mut impl Write,
    disk: &Mutex<VolatileDisk>,
    power: &Shared<Power>,
) -> io::Result<bool> {
    if u32::from_be_bytes(take(from)?) != REQUEST {
        return Err(io::Error::other("no request"));
    }
    let flags = u16::from_be_bytes(take(from)?);
    let kind = u16::from_be_bytes(take(from)?);
    let cookie: [u8; 8] = take(from)?;
    let at = u64::from_be_bytes(take(from)?);
    let length = u32::from_be_bytes(take(from)?);
    let bytes = if kind == 1 { take_many(from, length)? } else { Vec::new() };
    let mut data = if kind == 0 { vec![0; bounded(length)?] } else { Vec::new() };
    let time = if kind == 3 { FLUSH_TIME } else { Duration::ZERO };
    if kind == 2 || power.wait(time, |power| power.is_off) {
        return Ok(false);
    }
    // The power does not go in the middle of a request.
    let done = power.change(|power| {
        if power.is_off {
            return None;
        }
        power.requests += 1;
        let mut disk = locked(disk);
        let done = match kind {
            0 => disk.read(at, &mut data),
            1 => disk.write(at, &bytes, flags & THROUGH != 0),
            3 => disk.flush(),
            _ => Err(io::Error::from(io::ErrorKind::InvalidInput)),
        };
        power.is_off = power.off_at.is_some_and(|most| disk.unflushed() >= most);
        Some(done)
    });
    let Some(done) = done else { return Ok(false) };
    let error: u32 = match &done {
        Ok(()) => 0,
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => 22,
        Err(_) => 5,
    };
    to.write_all(&[&REPLY.to_be_bytes()[..], &error.to_be_bytes(), &cookie].concat())?;
    if done.is_ok() {
        to.write_all(&data)?;
    }
    Ok(true)
}

fn take<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn take_many(from: &mut impl Read, length: u32) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; bounded(length)?];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn bounded(length: u32) -> io::Result<usize> {
    let length = length as usize;
    if length <= REQUEST_MAX { Ok(length) } else { Err(io::Error::other("too long")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: u64 = 16 * 512;

    /// A disk of zeros, and a client that has begun.
    struct Rig {
        file: PathBuf,
        server: Server,
        client: UnixStream,
    }

    impl Rig {
        fn new(name: &str) -> Self {
            let name = format!("ringpost-nbd-{}-{name}", std::process::id());
            let socket = std::env::temp_dir().join(name);
            let file = socket.with_extension("img");
            std::fs::write(&file, [0; BYTES as usize]).unwrap();
            let disk = VolatileDisk::open(&file, false, 1).unwrap();
            let server = Server::start(&socket, disk).unwrap();
            let mut client = UnixStream::connect(server.socket()).unwrap();
            let greeting: [u8; 18] = take(&mut client).unwrap();
            assert_eq!(&greeting[..16], b"NBDMAGICIHAVEOPT");
            client.write_all(&3u32.to_be_bytes()).unwrap();
            // An option that nobody knows is refused, and the next one is heard.
            client.write_all(b"IHAVEOPT\0\0\0\x63\0\0\0\0").unwrap();
            let refused: [u8; 20] = take(&mut client).unwrap();
            assert_eq!(&refused[12..16], &[0x80, 0, 0, 1]);
            client.write_all(b"IHAVEOPT\0\0\0\x07\0\0\0\x06\0\0\0\0\0\0").unwrap();
            let info: [u8; 52] = take(&mut client).unwrap();
            assert_eq!(info[22..30], BYTES.to_be_bytes());
            Self { file, server, client }
        }

        fn ask(&self, kind: u16, at: u64, length: u32, data: &[u8]) {
            let mut words = REQUEST.to_be_bytes().to_vec();
            words.extend([0u16, kind].into_iter().flat_map(u16::to_be_bytes));
            words.extend(b"cookie!!");
            words.extend(at.to_be_bytes());
            words.extend(length.to_be_bytes());
            words.extend(data);
            (&self.client).write_all(&words).unwrap();
        }

        /// The error, which is 0 where there is none, and what was read.
        fn request(&mut self, kind: u16, at: u64, length: u32, data: &[u8]) -> (u32, Vec<u8>) {
            self.ask(kind, at, length, data);
            let reply: [u8; 16] = take(&mut self.client).unwrap();
            assert_eq!(&reply[8..], b"cookie!!");
            let error = u32::from_be_bytes([reply[4], reply[5], reply[6], reply[7]]);
            let asked = if kind == 0 && error == 0 { length } else { 0 };
            (error, take_many(&mut self.client, asked).unwrap())
        }

        fn kept(&self) -> Vec<u8> {
            std::fs::read(&self.file).unwrap()
        }
    }

    impl Drop for Rig {
        fn drop(&mut self) {
            for path in [&self.file, &self.server.socket] {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    #[test]
    fn a_client_writes_flushes_and_reads_back() {
        let mut rig = Rig::new("plain");
        assert_eq!(rig.request(1, 512, 512, &[7; 512]).0, 0);
        assert_eq!(rig.request(0, 512, 512, &[]).1, [7; 512]);
        assert_eq!(rig.kept(), [0; BYTES as usize], "it lies in the cache");
        assert_eq!(rig.request(3, 0, 0, &[]).0, 0);
        assert_eq!(rig.kept()[512..1024], [7; 512]);
        assert_eq!(rig.request(1, BYTES, 512, &[7; 512]).0, 22, "beyond the end");
    }

    #[test]
    fn a_disk_that_goes_off_amid_writes_has_something_to_forget() {
        let mut rig = Rig::new("amid");
        rig.server.switch_off_amid(2, Duration::ZERO);
        assert!(rig.server.power.look().is_off, "nothing was written in that time");
        rig.server.switch_on();
        assert_eq!(rig.request(1, 0, 512, &[7; 512]).0, 0);
        std::thread::scope(|scope| {
            let off = scope.spawn(|| rig.server.switch_off_amid(2, Duration::from_secs(60)));
            let power = &rig.server.power;
            assert!(power.wait(Duration::from_secs(60), |power| power.off_at.is_some()));
            assert!(!power.look().is_off, "one sector is less than two");
            rig.ask(1, 512, 512, &[7; 512]);
            off.join().unwrap();
        });
        rig.ask(3, 0, 0, &[]);
        rig.client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(rig.server.disk().unflushed(), 2);
        assert_eq!(rig.kept(), [0; BYTES as usize]);
    }
}
