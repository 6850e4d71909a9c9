//! Clients as they come: how many messages they bring, how they speak, and
//! what they do wrong.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base::Rng;

use super::play::Play;
use super::stream;
use crate::letters;
use crate::observation::{Addressee, Letter};
use crate::scenario::pick;
use crate::world::Manner;

impl Play<'_> {
    /// A client comes with new messages.
    pub(super) fn visit(&mut self, seed: u64) {
        let mut rng = Rng::new(seed);
        let count = pick(&mut rng, &[1, 1, 1, 2, 4, 8]);
        let letters: VecDeque<(u32, Arc<Letter>)> = (0..count)
            .map(|_| {
                self.numbers += 1;
                let letter = letters::letter(self.numbers, self.scenario, &mut rng);
                (self.numbers, Arc::new(letter))
            })
            .collect();
        let manner = manner(&mut rng);
        self.comes(letters, manner, &mut rng);
    }

    /// A client comes with a message that was put off.
    pub(super) fn comes_again(&mut self, letter: &Letter) {
        let old = letters::mark_of(&letter.content);
        let tries = self.tries.get(&old).copied().unwrap_or_default();
        self.numbers += 1;
        self.tries.insert(self.numbers, tries + 1);
        let letter = letters::again(self.numbers, letter);
        let mut rng = stream(self.seed, 1 << 41 | u64::from(self.numbers));
        let manner = manner(&mut rng);
        self.comes([(self.numbers, Arc::new(letter))].into(), manner, &mut rng);
    }

    fn comes(&mut self, letters: VecDeque<(u32, Arc<Letter>)>, manner: Manner, rng: &mut Rng) {
        self.watch.messages += letters.len() as u64;
        let letters = match manner.helo {
            true => letters.into_iter().map(|(n, letter)| (n, bare(&letter))).collect(),
            false => letters,
        };
        let shard = rng.below(self.world.shards.len() as u64) as usize;
        let peer = IpAddr::from([127, 0, 0, 1 + rng.below(8) as u8]);
        self.world.visit(shard, peer, letters, manner);
    }
}

/// The same message without what HELO cannot ask for.
fn bare(letter: &Letter) -> Arc<Letter> {
    let plain = |to: &Addressee| Addressee::new(&to.address);
    let to = letter.to.iter().map(plain).collect();
    Arc::new(Letter { to, ret: 0, envid: None, ..letter.clone() })
}

fn manner(rng: &mut Rng) -> Manner {
    let delay = Duration::from_millis(pick(rng, &[1, 1, 3, 40, 300]));
    let mut manner = Manner::plain(delay);
    manner.pipelines = rng.below(2) == 0;
    manner.helo = rng.below(15) == 0;
    manner.chunks = pick(rng, &[0, 0, 0, 1, 3]);
    if rng.below(6) == 0 {
        manner.piece = pick(rng, &[1, 7, 100]);
        manner.gap = Duration::from_millis(pick(rng, &[0, 1, 30]));
    }
    if rng.below(12) == 0 {
        manner.leaves_after = Some(rng.below(12) as u32);
    }
    if rng.below(15) == 0 {
        manner.cuts_at = Some(rng.below(100) as u8);
    }
    manner.silently = rng.below(2) == 0;
    if rng.below(12) == 0 {
        manner.nonsense = nonsense(rng);
    }
    manner
}

/// Lines that make no sense, each of which gets one reply.
fn nonsense(rng: &mut Rng) -> Vec<Vec<u8>> {
    let long = [vec![b'x'; 3_000], b"\r\n".to_vec()].concat();
    let kinds: [&[&[u8]]; 8] = [
        &[b"MAIL FROM:<evil@from0.example>\n", b"RCPT TO:<bare-lf@d0.example>\n", b"DATA\n"],
        &[b"\x00\x01\x02\r\n"],
        &[b"RCPT TO:<nobody@d0.example>\r\n", b"DATA\r\n"],
        &[&long],
        &[b"MAIL FROM:<a@from0.example> SIZE=99999999999999999999999\r\n"],
        &[b"MAIL FROM:<a b@from0.example>\r\n", b"RSET\r\n"],
        &[b"VRFY root\r\n", b"EXPN all\r\n", b"NOOP\r\n", b"HELP\r\n"],
        &[b"AUTH PLAIN AGEAYg==\r\n", b"ETRN x\r\n"],
    ];
    let lines = pick(rng, &kinds);
    lines.iter().map(|line| line.to_vec()).collect()
}
