//! Stories of shards that share a limit.

use super::*;

const KEY: &str = "mx:mx.example";

fn at(ms: u64) -> Monotonic {
    Monotonic::from_millis(ms)
}

fn limits(connections: u32, rate: Option<&str>, revision: u64) -> Limits {
    Limits { connections, rate: rate.map(|text| text.parse().unwrap()), revision }
}

fn connections(connections: u32) -> Want {
    Want { connections, tokens: 0 }
}

fn tokens(tokens: u32) -> Want {
    Want { connections: 0, tokens }
}

fn decisions(bank: &mut Bank) -> Vec<(u16, Verdict)> {
    std::iter::from_fn(|| bank.poll()).map(|d| (d.shard.0, d.verdict)).collect()
}

#[test]
fn permits_end_at_the_limit_and_go_on_when_given_back() {
    let mut bank = Bank::new(1);
    let limits = limits(3, None, 0);
    bank.ask(at(0), ShardId(0), KEY, limits, connections(2));
    bank.ask(at(0), ShardId(1), KEY, limits, connections(2));
    assert_eq!(decisions(&mut bank), [(0, Verdict::Connections(2)), (1, Verdict::Connections(1))]);
    assert_eq!(bank.connections_out(KEY), 3);
    bank.give_back(at(5), ShardId(0), KEY, 1);
    assert_eq!(decisions(&mut bank), [(1, Verdict::Connections(1))]);
    bank.give_back(at(5), ShardId(0), KEY, 1);
    assert_eq!(decisions(&mut bank), []);
    assert_eq!(bank.connections_out(KEY), 2);
}

#[test]
fn who_waited_long_enough_gets_its_share_back() {
    let mut bank = Bank::new(1);
    let limits = limits(10, None, 0);
    bank.ask(at(0), ShardId(0), KEY, limits, connections(50));
    bank.ask(at(0), ShardId(1), KEY, limits, connections(2));
    assert_eq!(decisions(&mut bank), [(0, Verdict::Connections(10))]);
    bank.advance(at(999));
    assert_eq!(decisions(&mut bank), []);
    assert_eq!(bank.next_deadline(), Some(at(1_000)));
    bank.advance(at(1_000));
    assert_eq!(decisions(&mut bank), [(0, Verdict::Recall { keep: 8 })]);
    assert_eq!(bank.next_deadline(), None, "one wake-up, then silence");
    bank.give_back(at(1_100), ShardId(0), KEY, 2);
    assert_eq!(decisions(&mut bank), [(1, Verdict::Connections(2))], "not back to the first");
    bank.give_back(at(1_200), ShardId(1), KEY, 2);
    assert_eq!(decisions(&mut bank), [(0, Verdict::Connections(2))], "nothing stays unused");
}

#[test]
fn a_single_permit_goes_round() {
    let mut bank = Bank::new(1);
    let limits = limits(1, None, 0);
    let mut now = at(0);
    let mut turns = [0u32; 3];
    for shard in 0..3 {
        bank.ask(now, ShardId(shard), KEY, limits, connections(1));
    }
    for _ in 0..300 {
        match bank.poll() {
            Some(Decision { shard, verdict: Verdict::Connections(1), .. }) => {
                turns[usize::from(shard.0)] += 1;
            }
            Some(Decision { shard, verdict: Verdict::Recall { keep: 0 }, .. }) => {
                bank.give_back(now, shard, KEY, 1);
                bank.ask(now, shard, KEY, limits, connections(1));
            }
            Some(other) => panic!("{other:?}"),
            None => {
                now = bank.next_deadline().unwrap();
                bank.advance(now);
            }
        }
    }
    assert!(turns.iter().all(|n| (30..=40).contains(n)), "{turns:?}");
}

#[test]
fn a_lowered_limit_is_recalled_at_once() {
    let mut bank = Bank::new(1);
    bank.ask(at(0), ShardId(0), KEY, limits(10, None, 0), connections(8));
    bank.ask(at(0), ShardId(1), KEY, limits(10, None, 0), connections(2));
    decisions(&mut bank);
    bank.ask(at(9), ShardId(1), KEY, limits(4, None, 1), connections(1));
    assert_eq!(decisions(&mut bank), [(0, Verdict::Recall { keep: 2 })]);
    bank.give_back(at(10), ShardId(0), KEY, 6);
    assert_eq!(decisions(&mut bank), []);
    assert_eq!(bank.connections_out(KEY), 4);
}

#[test]
fn a_shard_with_an_older_policy_brings_no_old_limit_back() {
    let mut bank = Bank::new(1);
    bank.ask(at(0), ShardId(0), KEY, limits(2, None, 7), connections(1));
    bank.ask(at(0), ShardId(1), KEY, limits(20, None, 6), connections(9));
    decisions(&mut bank);
    assert_eq!(bank.connections_out(KEY), 2);
}

#[test]
fn giving_back_too_much_or_out_of_nothing_does_no_harm() {
    let mut bank = Bank::new(1);
    bank.give_back(at(0), ShardId(3), "mx:unknown", 5);
    bank.ask(at(0), ShardId(0), KEY, limits(2, None, 0), connections(2));
    bank.give_back(at(0), ShardId(1), KEY, 5);
    assert_eq!(bank.connections_out(KEY), 2);
    bank.give_back(at(0), ShardId(0), KEY, u32::MAX);
    assert_eq!(bank.connections_out(KEY), 0);
}

#[test]
fn an_account_without_use_is_forgotten() {
    let mut bank = Bank::new(1);
    bank.ask(at(0), ShardId(0), KEY, limits(2, None, 0), connections(2));
    bank.ask(at(0), ShardId(0), KEY, limits(2, None, 0), connections(0));
    bank.give_back(at(0), ShardId(0), KEY, 2);
    assert!(bank.is_empty());
    bank.ask(at(0), ShardId(0), KEY, limits(2, Some("1/1m"), 0), tokens(1));
    assert_eq!(bank.len(), 1, "the spent token is remembered");
    let full = bank.next_deadline().unwrap();
    assert_eq!(full, at(61_200));
    bank.advance(full);
    assert!(bank.is_empty());
    assert_eq!(bank.next_deadline(), None);
}

#[test]
fn tokens_are_shared_among_the_thirsty() {
    let mut bank = Bank::new(1);
    let limits = limits(1, Some("1000/1s"), 0);
    bank.ask(at(0), ShardId(0), KEY, limits, tokens(1_000_000));
    bank.ask(at(0), ShardId(1), KEY, limits, tokens(1_000_000));
    let mut got = [0u32; 2];
    let mut wakes = 0;
    loop {
        for decision in std::iter::from_fn(|| bank.poll()) {
            let Verdict::Tokens { count, .. } = decision.verdict else { panic!("{decision:?}") };
            got[usize::from(decision.shard.0)] += count;
        }
        let next = bank.next_deadline().unwrap();
        if next >= at(10_000) {
            break;
        }
        bank.advance(next);
        wakes += 1;
    }
    assert!((9_500..=10_000).contains(&(got[0] + got[1])), "{got:?}");
    assert!(got[0].abs_diff(got[1]) < 500, "{got:?}");
    assert!(wakes <= 2_000, "one wake-up per pause, not per token: {wakes}");
}

#[test]
fn without_a_rate_no_tokens_are_dealt() {
    let mut bank = Bank::new(1);
    bank.ask(at(0), ShardId(0), KEY, limits(1, None, 0), tokens(5));
    assert_eq!(decisions(&mut bank), []);
    assert!(bank.is_empty());
}
