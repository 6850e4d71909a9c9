//! A virtual machine: qemu as a child, and what the guest says on its serial
//! line.
//!
//! Never outlives this program's hold on it: dropped is killed. Lines are kept
//! in a file beside the disk, for whoever asks what happened.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::image::{Image, tool};

/// The firmware's code, and its memory of settings.
pub const FIRMWARE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const FIRMWARE_SETTINGS: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
/// The guest's port for control from outside.
pub const CONTROL_PORT: u16 = 8026;
/// How long the emulator may take for an answer.
const MONITOR_TIME: Duration = Duration::from_secs(30);
/// What the kernel is started with where there is no loader. On a busy machine
/// the emulated timer is too late for the kernel's test of it.
const COMMAND_LINE: &str = "console=tty0 console=ttyS0,115200 panic=5 quiet no_timer_check";
/// Lines shown of a guest that failed.
const TAIL: usize = 40;

/// What comes before the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boot {
    /// Nothing: qemu loads it.
    Kernel,
    /// Firmware and loader, as on a real machine.
    Firmware,
}

/// Where its disk is.
#[derive(Clone, Copy, Debug)]
pub enum Drive<'a> {
    /// A file of this machine.
    File(&'a Path),
    /// A server of network block devices behind a Unix socket.
    Socket(&'a Path),
}

/// What its network card is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// A network of the emulator's, with DHCP and a way to this machine.
    Emulated,
    /// Two UDP ports of this machine, each datagram a frame: the guest's and
    /// the other end's.
    Frames(u16, u16),
}

/// What the guest finds in its slots.
#[derive(Clone, Copy, Debug)]
pub struct Hardware {
    /// What comes before the kernel.
    pub boot: Boot,
    /// The disk's controller, in qemu's words.
    pub disk: &'static str,
    /// The network card, in qemu's words.
    pub card: &'static str,
    /// The guest's address in the emulator's network.
    pub address: &'static str,
    /// What the card is connected to.
    pub wire: Wire,
}

impl Hardware {
    /// The emulator's own, with the address that its DHCP gives.
    pub fn emulated(boot: Boot) -> Self {
        let (disk, card) = ("virtio-blk-pci", "virtio-net-pci");
        Self { boot, disk, card, address: "10.0.2.15", wire: Wire::Emulated }
    }
}

/// A running guest.
pub struct Guest {
    qemu: Child,
    lines: Receiver<String>,
    heard: Vec<String>,
    log: PathBuf,
    began: Instant,
    port: u16,
    control: u16,
    monitor: u16,
}

impl Guest {
    /// Starts one on a disk; its ports for mail and for control are forwarded.
    ///
    /// # Errors
    /// qemu cannot be started.
    pub fn start(
        image: &Image,
        folder: &Path,
        disk: Drive<'_>,
        hardware: &Hardware,
    ) -> io::Result<Self> {
        let (port, control, monitor) = (free_port()?, free_port()?, free_port()?);
        let mut qemu = tool("qemu-system-x86_64");
        qemu.args(["-accel", "tcg", "-cpu", "max", "-M", "q35", "-smp", "1", "-m", "512"]);
        qemu.args(["-display", "none", "-nodefaults", "-no-user-config", "-serial", "stdio"]);
        qemu.args(["-device", "virtio-rng-pci", "-device", "VGA"]);
        // A clock that is to be put right.
        qemu.args(["-rtc", "base=2026-02-01T00:00:00"]);
        qemu.args(["-device", "i6300esb", "-action", "watchdog=reset"]);
        match disk {
            Drive::File(disk) => drive(&mut qemu, "none,id=d0,cache=none", disk),
            Drive::Socket(path) => {
                let server = format!("server.type=unix,server.path={}", path.display());
                qemu.arg("-blockdev").arg(format!("driver=nbd,node-name=d0,{server}"));
            }
        }
        qemu.arg("-device").arg(format!("{},drive=d0", hardware.disk));
        qemu.arg("-monitor").arg(format!("tcp:127.0.0.1:{monitor},server=on,wait=off"));
        let address = hardware.address;
        let forward =
            |here: u16, there: u16| format!("hostfwd=tcp:127.0.0.1:{here}-{address}:{there}");
        qemu.arg("-netdev").arg(match hardware.wire {
            Wire::Emulated => {
                format!("user,id=n0,{},{}", forward(port, 25), forward(control, CONTROL_PORT))
            }
            Wire::Frames(guest, other) => {
                format!("socket,id=n0,udp=127.0.0.1:{other},localaddr=127.0.0.1:{guest}")
            }
        });
        qemu.arg("-device").arg(format!("{},netdev=n0,romfile=", hardware.card));
        match hardware.boot {
            Boot::Kernel => {
                qemu.arg("-kernel").arg(&image.kernel).arg("-initrd").arg(&image.initramfs);
                qemu.args(["-append", COMMAND_LINE]);
            }
            Boot::Firmware => {
                let settings = folder.join("firmware-settings.fd");
                fs::copy(FIRMWARE_SETTINGS, &settings)?;
                drive(&mut qemu, "pflash,unit=0,readonly=on", Path::new(FIRMWARE));
                drive(&mut qemu, "pflash,unit=1", &settings);
            }
        }
        let log = folder.join("serial.log");
        let (child, lines) = listened(&mut qemu, &log)?;
        let began = Instant::now();
        Ok(Self { qemu: child, lines, heard: Vec::new(), log, began, port, control, monitor })
    }

    /// When it was started.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// The port of this machine that leads to the guest's port for mail.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port of this machine that leads to its port for control.
    pub fn control(&self) -> u16 {
        self.control
    }

    /// Takes a picture of its screen, as a PNG.
    ///
    /// # Errors
    /// The emulator does not answer.
    pub fn picture(&self, file: &Path) -> io::Result<()> {
        self.order(&format!("screendump {} -f png", file.display()))
    }

    /// Plugs the cable of its network card in, or out.
    ///
    /// # Errors
    /// The emulator does not answer.
    pub fn plug(&self, is_in: bool) -> io::Result<()> {
        self.order(&format!("set_link n0 {}", if is_in { "on" } else { "off" }))
    }

    /// Gives the emulator an order, and waits until it is carried out.
    fn order(&self, order: &str) -> io::Result<()> {
        let mut monitor = TcpStream::connect(("127.0.0.1", self.monitor))?;
        monitor.set_read_timeout(Some(MONITOR_TIME))?;
        let prompt = |monitor: &mut TcpStream| {
            let mut said = Vec::new();
            while !said.ends_with(b"(qemu) ") {
                let mut one = [0];
                if monitor.read(&mut one)? == 0 {
                    return Err(io::Error::other("the emulator's monitor left"));
                }
                said.push(one[0]);
            }
            Ok(())
        };
        prompt(&mut monitor)?;
        monitor.write_all(format!("{order}\n").as_bytes())?;
        prompt(&mut monitor)
    }

    /// The first line with `mark` in it, said already or to be said in `time`.
    ///
    /// # Errors
    /// It was not said; with what was said instead.
    pub fn wait_for(&mut self, mark: &str, time: Duration) -> io::Result<String> {
        if let Some(line) = self.heard.iter().find(|line| line.contains(mark)) {
            return Ok(line.clone());
        }
        let ends = Instant::now() + time;
        loop {
            let left = ends.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.heard.push(line.clone());
                    if line.contains(mark) {
                        return Ok(line);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(self.blamed(&format!("no {mark} within {} s", time.as_secs())));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.blamed(&format!("qemu ended before {mark}")));
                }
            }
        }
    }

    /// The first line with `mark` in it, of those that [`Self::wait_for`] passed.
    ///
    /// # Errors
    /// It was not said.
    pub fn already(&self, mark: &str) -> io::Result<String> {
        let said = self.heard.iter().find(|line| line.contains(mark));
        said.cloned().ok_or_else(|| self.blamed(&format!("no {mark} until now")))
    }

    /// Listens for `time`.
    ///
    /// # Errors
    /// Something was said with one of these words in it.
    pub fn quiet(&mut self, time: Duration, words: &[&str]) -> io::Result<()> {
        let ends = Instant::now() + time;
        loop {
            match self.lines.recv_timeout(ends.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.heard.push(line.clone());
                    if words.iter().any(|word| line.contains(word)) {
                        return Err(self.blamed(&line));
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => return Err(self.blamed("qemu ended")),
            }
        }
    }

    /// Lines with `mark` in them, of those not forgotten.
    pub fn said(&self, mark: &str) -> Vec<String> {
        self.heard.iter().filter(|line| line.contains(mark)).cloned().collect()
    }

    /// Forgets what was said so far, so that it is waited for again.
    pub fn forget(&mut self) {
        self.heard.clear();
    }

    /// Takes its power away, and waits until it is gone.
    pub fn kill(&mut self) {
        // One that has ended by itself needs no end.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }

    /// An error with the guest's last words.
    pub fn blamed(&self, why: &str) -> io::Error {
        let tail = &self.heard[self.heard.len().saturating_sub(TAIL)..];
        let log = self.log.display();
        io::Error::other(format!("{why}; the guest's last words ({log}):\n{}", tail.join("\n")))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts qemu; a thread, which ends with it, passes its lines on.
fn listened(qemu: &mut Command, log: &Path) -> io::Result<(Child, Receiver<String>)> {
    let mut file = File::create(log)?;
    let mut child = qemu.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let serial = child.stdout.take().expect("its output was asked for");
    let (say, lines) = channel();
    thread::spawn(move || {
        let mut serial = BufReader::new(serial);
        let mut line = Vec::new();
        while serial.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            let _ = file.write_all(&line);
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            if say.send(text).is_err() {
                return;
            }
        }
    });
    Ok((child, lines))
}

fn drive(qemu: &mut Command, how: &str, file: &Path) {
    qemu.arg("-drive").arg(format!("if={how},format=raw,file={}", file.display()));
}

/// A port that nobody has just now.
///
/// # Errors
/// There is none.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
