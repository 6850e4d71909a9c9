//! What is sent: how many messages, to whom, how large, all of it a function
//! of one seed, so that the receiving side can work out what should have come.
//!
//! Never holds a list of messages: message `n` is computed when it is needed,
//! and again when it is checked.

use base::Rng;

/// Domains a workload may spread over.
pub const DOMAINS_MAX: u32 = 100_000;
/// Recipients one message may have.
pub const RECIPIENTS_MAX: u32 = 1_000;

/// A repeatable stream of messages.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Messages, numbered from 0.
    pub messages: u64,
    /// Recipient domains, `d001.example` and on; 1 to [`DOMAINS_MAX`].
    pub domains: u32,
    /// How recipients are spread over the domains.
    pub spread: Spread,
    /// How large the messages are.
    pub sizes: Sizes,
    /// Recipients per message, 1 to [`RECIPIENTS_MAX`]; each draws its own domain.
    pub recipients: u32,
    /// Everything follows from it.
    pub seed: u64,
}

/// How recipients are spread over the domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// One after the other: each domain gets the same share.
    RoundRobin,
    /// The k-th domain gets a share in proportion to 1/k, as real mail does.
    Zipf,
    /// The first domain gets so many of 100, the others share the rest.
    Hot(u32),
}

/// Sizes of whole messages, header included, in bytes before dot-stuffing.
/// Nothing is smaller than its own header, some 400 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// All of one size.
    Fixed(usize),
    /// Evenly between the two, both included.
    Between(usize, usize),
    /// Each size with its weight.
    Mix(Vec<(u32, usize)>),
}

impl Workload {
    /// Messages of 2 KiB with one recipient each, round robin over `domains`.
    pub fn new(messages: u64, domains: u32, seed: u64) -> Self {
        Self {
            messages,
            domains,
            spread: Spread::RoundRobin,
            sizes: Sizes::Fixed(2_048),
            recipients: 1,
            seed,
        }
    }

    /// The `index`-th domain of the workload, from 0: `d001.example` and on.
    pub fn domain(index: u32) -> String {
        format!("d{:03}.example", index + 1)
    }

    /// Reverse-path of message `number`, without angle brackets.
    pub fn sender(&self, number: u64) -> String {
        format!("s{}@source.example", number % 1_000)
    }

    /// Recipients of message `number`, without angle brackets, all different.
    pub fn recipients(&self, number: u64) -> Vec<String> {
        let count = self.recipients.clamp(1, RECIPIENTS_MAX);
        let mut rng = self.rng(number);
        (0..count)
            .map(|place| {
                let domain = self.draw_domain(number, place, &mut rng);
                format!("r{number}.{place}@{}", Self::domain(domain))
            })
            .collect()
    }

    /// Size aimed at for message `number`, in bytes.
    pub fn size(&self, number: u64) -> usize {
        let mut rng = Rng::new(self.seed.rotate_left(17) ^ number);
        match &self.sizes {
            Sizes::Fixed(bytes) => *bytes,
            Sizes::Between(low, high) => {
                let span = high.saturating_sub(*low) as u64 + 1;
                low + rng.below(span) as usize
            }
            Sizes::Mix(parts) => {
                let whole: u64 = parts.iter().map(|(weight, _)| u64::from(*weight)).sum();
                let mut left = rng.below(whole.max(1));
                for (weight, bytes) in parts {
                    if left < u64::from(*weight) {
                        return *bytes;
                    }
                    left -= u64::from(*weight);
                }
                0
            }
        }
    }

    /// Random bits that belong to message `number` alone.
    pub(crate) fn rng(&self, number: u64) -> Rng {
        Rng::new(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn draw_domain(&self, number: u64, place: u32, rng: &mut Rng) -> u32 {
        let domains = self.domains.clamp(1, DOMAINS_MAX);
        match self.spread {
            Spread::RoundRobin => ((number + u64::from(place)) % u64::from(domains)) as u32,
            Spread::Zipf => zipf(domains, rng),
            Spread::Hot(percent) => {
                let others = domains - 1;
                let hot = others == 0 || rng.chance(u64::from(percent), 100);
                if hot { 0 } else { 1 + rng.below(u64::from(others)) as u32 }
            }
        }
    }
}

/// A rank below `domains` with a share of about 1/(rank + 1): the inverse of
/// the logarithm that sums of 1/k follow, which needs no table per draw.
fn zipf(domains: u32, rng: &mut Rng) -> u32 {
    let even = rng.below(1 << 53) as f64 / (1u64 << 53) as f64;
    let rank = (f64::from(domains) + 1.0).powf(even) - 1.0;
    (rank as u32).min(domains - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_the_same_whenever_it_is_asked_for() {
        let workload =
            Workload { spread: Spread::Zipf, recipients: 5, ..Workload::new(100, 200, 7) };
        for number in 0..100 {
            assert_eq!(workload.recipients(number), workload.recipients(number));
            assert_eq!(workload.recipients(number).len(), 5);
        }
        let other = Workload { seed: 8, ..workload.clone() };
        assert!((0..100).any(|n| workload.recipients(n) != other.recipients(n)));
    }

    #[test]
    fn round_robin_gives_each_domain_its_share() {
        let workload = Workload::new(1_000, 200, 1);
        let mut shares = std::collections::BTreeMap::new();
        for number in 0..1_000 {
            let recipient = workload.recipients(number).remove(0);
            let domain = recipient.split_once('@').unwrap().1.to_owned();
            *shares.entry(domain).or_insert(0) += 1;
        }
        assert_eq!(shares.len(), 200);
        assert!(shares.values().all(|share| *share == 5));
        assert!(shares.contains_key("d001.example") && shares.contains_key("d200.example"));
    }

    #[test]
    fn zipf_favours_the_first_and_reaches_the_last() {
        let mut rng = Rng::new(3);
        let mut shares = [0u32; 50];
        for _ in 0..100_000 {
            shares[zipf(50, &mut rng) as usize] += 1;
        }
        assert!(shares[0] > 5 * shares[9], "{shares:?}");
        assert!(shares[49] > 0);
    }

    #[test]
    fn shares_by_zipf_fall_as_one_over_the_rank() {
        let mut rng = Rng::new(9);
        let (domains, draws) = (1_000, 400_000);
        let mut shares = vec![0u32; domains as usize];
        for _ in 0..draws {
            shares[zipf(domains, &mut rng) as usize] += 1;
        }
        // The share of ranks a to b is ln((b + 1) / a) / ln(domains + 1).
        for (a, b) in [(1, 1), (2, 3), (10, 19), (100, 199), (500, 1_000)] {
            let counted: u32 = shares[a - 1..b].iter().sum();
            let counted = f64::from(counted) / f64::from(draws);
            let law = ((b + 1) as f64 / a as f64).ln() / f64::from(domains + 1).ln();
            assert!((counted - law).abs() < 0.005, "ranks {a} to {b}: {counted}, not {law}");
        }
    }

    #[test]
    fn a_hot_domain_gets_its_share_and_the_others_the_rest() {
        let workload = Workload { spread: Spread::Hot(90), ..Workload::new(10_000, 200, 4) };
        let of = |n| workload.recipients(n).remove(0);
        let hot = (0..10_000).filter(|n| of(*n).ends_with("@d001.example")).count();
        assert!((8_850..9_150).contains(&hot), "{hot}");
        assert!((0..10_000).any(|n| of(n).ends_with("@d200.example")));
        let alone = Workload { spread: Spread::Hot(1), ..Workload::new(1, 1, 4) };
        assert!(alone.recipients(0)[0].ends_with("@d001.example"));
    }

    #[test]
    fn sizes_keep_to_their_bounds() {
        let mut workload = Workload::new(1, 1, 5);
        workload.sizes = Sizes::Between(700, 900);
        assert!((0..500).all(|n| (700..=900).contains(&workload.size(n))));
        workload.sizes = Sizes::Mix(vec![(3, 1_000), (1, 50_000)]);
        let large = (0..1_000).filter(|n| workload.size(*n) == 50_000).count();
        assert!((150..350).contains(&large), "{large}");
        workload.sizes = Sizes::Mix(Vec::new());
        assert_eq!(workload.size(0), 0);
    }
}
