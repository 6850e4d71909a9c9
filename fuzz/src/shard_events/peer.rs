//! A mail exchanger's side of one connection: reads what the shard sends, line
//! by line, and has a reply to each command, good or bad.

/// One exchanger.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    /// The connection stands.
    pub is_up: bool,
    /// A TLS handshake was asked for.
    pub handshake_due: bool,
    /// The shard waits to hear that its output is out.
    pub undrained: bool,
    has_greeted: bool,
    in_data: bool,
    /// That the final dot is here was seen.
    dot_is_known: bool,
    unread: Vec<u8>,
}

impl Peer {
    /// The shard sent this.
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        assert!(self.is_up, "something is sent before the connection stands");
        self.unread.extend_from_slice(bytes);
    }

    pub(super) fn can_speak(&self) -> bool {
        self.is_up && !self.handshake_due
    }

    /// Whether this peer has something to do.
    pub(super) fn is_due(&self) -> bool {
        !self.is_up || self.handshake_due || self.undrained || !self.has_greeted || self.is_asked()
    }

    /// Whether a whole message is here and not answered. A dot alone is none:
    /// nobody was to get it (RFC 2920 §3.1).
    pub(super) fn has_whole_message(&self) -> bool {
        self.in_data && self.is_asked() && !self.unread.starts_with(b".\r\n")
    }

    /// Whether the final dot has come since this was asked last.
    pub(super) fn has_new_dot(&mut self) -> bool {
        let is_here = self.has_whole_message();
        !std::mem::replace(&mut self.dot_is_known, is_here) && is_here
    }

    fn is_asked(&self) -> bool {
        match self.in_data {
            true => self.unread == b".\r\n" || self.unread.windows(5).any(|w| w == b"\r\n.\r\n"),
            false => self.unread.contains(&b'\n'),
        }
    }

    /// The reply to what was asked first, none if nothing was. Mood 0 is good;
    /// others refuse now and then.
    pub(super) fn reply(&mut self, mood: u8) -> Option<&'static [u8]> {
        if !std::mem::replace(&mut self.has_greeted, true) {
            return Some(if mood == 255 { b"554 no\r\n" } else { b"220 mx ready\r\n" });
        }
        if !self.is_asked() {
            return None;
        }
        if self.in_data {
            let end = match self.unread.starts_with(b".\r\n") {
                true => 3,
                false => 5 + self.unread.windows(5).position(|w| w == b"\r\n.\r\n")?,
            };
            self.unread.drain(..end);
            self.in_data = false;
            return Some(mooded(mood, b"250 2.0.0 taken\r\n"));
        }
        let end = 1 + self.unread.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = self.unread.drain(..end).collect();
        let is = |verb: &[u8]| line.starts_with(verb);
        Some(match () {
            () if is(b"EHLO") && mood & 1 == 1 => b"250 mx\r\n",
            () if is(b"EHLO") => {
                b"250-mx\r\n250-PIPELINING\r\n250-STARTTLS\r\n250-DSN\r\n250 SIZE 100000\r\n"
            }
            () if is(b"STARTTLS") && mood != 254 => b"220 go\r\n",
            () if is(b"DATA") => {
                let reply = mooded(mood, b"354 go\r\n");
                self.in_data = reply.starts_with(b"354");
                reply
            }
            () if is(b"QUIT") => b"221 bye\r\n",
            () => mooded(mood, b"250 2.0.0 ok\r\n"),
        })
    }
}

fn mooded(mood: u8, good: &'static [u8]) -> &'static [u8] {
    match mood >> 4 {
        9 => b"450 4.2.0 later\r\n",
        10 => b"550 5.1.1 no such user\r\n",
        11 => b"421 4.3.2 closing\r\n",
        12 => b"452 4.5.3 too many\r\n",
        13 => b"552 5.2.2 full\r\n",
        14 => b"220 what\r\n",
        _ => good,
    }
}
