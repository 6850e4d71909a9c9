//! Lives of links, by what they are told and what they want done.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn program(path: &str) -> Program {
    Program::new(vec![path.into()]).unwrap()
}

pub(crate) fn settings() -> OnDemand {
    OnDemand {
        raise: program("/up"),
        lower: Some(program("/down")),
        raise_timeout: MINUTE,
        lower_timeout: MINUTE,
        retry: Retry::new(&[MINUTE, MINUTE * 5], 0).unwrap(),
        idle: MINUTE,
        recipients: 3,
        wait: MINUTE * 10,
    }
}

/// A link between two shards, and what it wanted since it was last asked.
struct Story {
    link: Uplink,
    now: Monotonic,
    heard: u64,
    states: Vec<String>,
}

impl Story {
    fn new(settings: OnDemand) -> Self {
        let mut link = Uplink::new(2, 0);
        let now = Monotonic::from_millis(1_000);
        link.set(now, Some(Arc::new(settings)));
        Self { link, now, heard: 0, states: Vec::new() }
    }

    fn after(&mut self, span: Duration) -> &mut Self {
        self.now = self.now + span;
        self.link.advance(self.now);
        self
    }

    fn waits(&mut self, shard: u16, waiting: u32) -> &mut Self {
        self.says(shard, Need { waiting, since: Some(self.now), ..Need::default() })
    }

    fn uses(&mut self, shard: u16, in_use: u32) -> &mut Self {
        self.says(shard, Need { in_use, heard: self.heard, ..Need::default() })
    }

    fn says(&mut self, shard: u16, need: Need) -> &mut Self {
        self.link.need(self.now, ShardId(shard), need);
        self
    }

    fn ends(&mut self, result: Result<(), &str>, cut_off: bool) -> &mut Self {
        let result = result.map_err(|reason| LinkFailure { reason: reason.into(), cut_off });
        self.link.ended(self.now, result);
        self
    }

    /// Programs that were wanted, and states told, since the last time.
    fn wanted(&mut self) -> Vec<String> {
        let mut wanted = Vec::new();
        while let Some(act) = self.link.poll() {
            match act {
                LinkAct::Run { program, .. } => wanted.push(program.to_string()),
                LinkAct::Tell(news) => {
                    assert!(news.number > self.heard, "news are numbered upwards");
                    self.heard = news.number;
                    self.states.push(news.state.to_string());
                }
            }
        }
        wanted
    }

    fn is(&self, state: &str) -> bool {
        self.link.state().to_string() == state
    }
}

/// Shows: S0.6
#[test]
fn mail_raises_a_link_and_a_quiet_one_is_lowered() {
    let mut story = Story::new(settings());
    story.waits(0, 1).waits(1, 1);
    assert!(story.wanted().is_empty() && story.is("down"), "two are too few");
    story.waits(1, 2);
    assert_eq!(story.wanted(), ["/up"]);
    story.waits(0, 9).after(MINUTE);
    assert!(story.wanted().is_empty() && story.is("being raised"), "one program at a time");
    story.ends(Ok(()), false);
    story.uses(0, 0).uses(1, 2).after(MINUTE * 5);
    assert!(story.wanted().is_empty() && story.is("up"), "it is in use");
    story.uses(1, 0).after(MINUTE - Duration::from_secs(1));
    assert!(story.wanted().is_empty() && story.is("up"));
    story.after(Duration::from_secs(1));
    assert!(story.wanted().is_empty() && story.is("closing"));
    story.uses(0, 0);
    assert!(story.wanted().is_empty(), "the other shard has not heard of it");
    story.uses(1, 0);
    assert_eq!(story.wanted(), ["/down"]);
    assert!(!story.link.is_at_rest());
    story.ends(Ok(()), false);
    assert!(story.wanted().is_empty() && story.link.is_at_rest());
    let all = ["being raised", "up", "closing", "being lowered", "down"];
    assert_eq!(story.states, all);
}

/// Shows: S0.6
#[test]
fn few_recipients_wait_for_more_but_not_for_ever() {
    let mut story = Story::new(settings());
    story.waits(0, 1);
    let until = story.now + MINUTE * 10;
    assert_eq!(story.link.next_deadline(), Some(until));
    story.after(MINUTE * 10 - Duration::from_millis(1));
    assert!(story.wanted().is_empty());
    story.after(Duration::from_millis(1));
    assert_eq!(story.wanted(), ["/up"]);
    // An operator who says "now" is not kept waiting either.
    let mut story = Story::new(settings());
    story.says(1, Need { waiting: 1, urgent: true, ..Need::default() });
    assert_eq!(story.wanted(), ["/up"]);
    let mut story = Story::new(settings());
    story.says(1, Need { urgent: true, ..Need::default() }).waits(1, 1);
    assert!(story.wanted().is_empty(), "a wish is for mail that waits now");
}

#[test]
fn a_link_that_cannot_be_raised_is_tried_again_in_its_time() {
    let mut story = Story::new(settings());
    story.waits(0, 3);
    assert_eq!(story.wanted(), ["/up"]);
    story.ends(Err("exit status 3: NO CARRIER"), false);
    assert!(story.is("down, raising it failed: exit status 3: NO CARRIER"));
    assert!(story.link.is_at_rest());
    story.waits(0, 9).after(MINUTE - Duration::from_millis(1));
    assert!(story.wanted().is_empty());
    story.after(Duration::from_millis(1));
    assert_eq!(story.wanted(), ["/up"]);
    story.ends(Err("again"), false).after(MINUTE * 4);
    assert!(story.wanted().is_empty(), "the second wait is longer");
    story.after(MINUTE);
    assert_eq!(story.wanted(), ["/up"]);
    story.ends(Err("again"), false);
    story.says(0, Need { waiting: 1, urgent: true, ..Need::default() });
    assert_eq!(story.wanted(), ["/up"], "whoever says now means now");
    // One that is up again has forgotten its failures.
    story.ends(Ok(()), false).uses(0, 0).after(MINUTE);
    story.wanted();
    story.uses(0, 0).uses(1, 0).ends(Ok(()), false).waits(0, 3);
    assert_eq!(story.wanted(), ["/down", "/up"]);
    story.ends(Err("again"), false).after(MINUTE);
    assert_eq!(story.wanted(), ["/up"]);
}

#[test]
fn nobody_waits_any_more_when_the_time_has_come() {
    let mut story = Story::new(settings());
    story.waits(0, 3).ends(Err("no"), false).uses(0, 0).after(MINUTE);
    assert_eq!(story.wanted(), ["/up"]);
    assert!(story.is("down") && story.link.next_deadline().is_none());
}

/// What was killed half-way may have left anything behind.
#[test]
fn a_raise_that_was_cut_off_is_taken_back() {
    let mut story = Story::new(settings());
    story.waits(0, 3).ends(Err("not done within 1m"), true);
    assert_eq!(story.wanted(), ["/up", "/down"]);
    assert!(story.is("being lowered") && !story.link.is_at_rest());
    story.ends(Err("whatever"), false);
    assert!(story.is("down, raising it failed: not done within 1m"));
    let mut alone = Story::new(OnDemand { lower: None, ..settings() });
    alone.waits(0, 3).ends(Err("not done within 1m"), true);
    assert!(alone.is("down, raising it failed: not done within 1m"));
}

#[test]
fn a_link_that_cannot_be_lowered_is_lowered_again_or_raised() {
    let up = |story: &mut Story| {
        story.waits(0, 3).ends(Ok(()), false).uses(0, 0).after(MINUTE);
        story.wanted();
        story.uses(0, 0).uses(1, 0);
        assert_eq!(story.wanted(), ["/down"]);
        story.ends(Err("busy"), false);
        assert!(story.is("out of use, its program failed: busy"));
        story.wanted();
    };
    let mut story = Story::new(settings());
    up(&mut story);
    story.after(MINUTE);
    assert_eq!(story.wanted(), ["/down"]);
    story.ends(Ok(()), false);
    assert!(story.is("down"));
    let mut story = Story::new(settings());
    up(&mut story);
    story.waits(1, 3);
    assert_eq!(story.wanted(), ["/up"]);
    // The link is still up: the other program has failed, too, and comes again
    // after a pause, and once no mail is left it is lowered after all.
    story.ends(Err("busy"), false);
    assert_eq!(story.wanted(), [""; 0]);
    story.after(MINUTE * 5);
    assert_eq!(story.wanted(), ["/up"]);
    story.ends(Err("busy"), true);
    assert_eq!(story.wanted(), ["/down"]);
    story.ends(Err("busy"), false).waits(1, 0).after(MINUTE * 5);
    assert_eq!(story.wanted(), ["/down"]);
    story.ends(Ok(()), false);
    assert!(story.is("down"));
    let mut story = Story::new(settings());
    up(&mut story);
    story.link.drain(story.now);
    assert!(story.link.is_at_rest(), "a stop does not wait for what has failed");
}

/// Who wanted mail sent at once was once left to wait for the pause there, and
/// so was who had mended the program.
#[test]
fn a_link_that_cannot_be_raised_anew_is_when_somebody_wants_it_now() {
    let mended = OnDemand { raise: program("/mended"), ..settings() };
    for (settings_after, wanted) in [(settings(), "/up"), (mended, "/mended")] {
        let mut story = Story::new(settings());
        story.waits(0, 3).ends(Ok(()), false).uses(0, 0).after(MINUTE);
        assert_eq!(story.wanted(), ["/up"]);
        story.uses(0, 0).uses(1, 0).ends(Err("busy"), false).waits(1, 3).ends(Err("busy"), false);
        assert_eq!(story.wanted(), ["/down", "/up"]);
        match settings_after == settings() {
            true => {
                story.says(1, Need { waiting: 1, urgent: true, ..Need::default() });
            }
            false => story.link.set(story.now, Some(Arc::new(settings_after))),
        }
        assert_eq!(story.wanted(), [wanted]);
        story.ends(Err("busy"), false);
        assert!(story.wanted().is_empty(), "once");
    }
}

#[test]
fn a_link_without_a_program_to_lower_it_is_down_at_once() {
    let mut story = Story::new(OnDemand { lower: None, ..settings() });
    story.waits(0, 3).ends(Ok(()), false).uses(0, 0).after(MINUTE);
    assert_eq!(story.wanted(), ["/up"]);
    story.uses(0, 0).uses(1, 0);
    assert!(story.wanted().is_empty() && story.is("down"));
}

/// Shows: S0.6
#[test]
fn a_stop_lowers_what_was_raised_and_raises_nothing() {
    let mut story = Story::new(settings());
    story.waits(0, 3).ends(Ok(()), false).uses(0, 0).uses(1, 1);
    assert_eq!(story.wanted(), ["/up"]);
    story.link.drain(story.now);
    assert!(story.wanted().is_empty() && story.is("closing"), "shards end what is under way");
    story.uses(0, 0).uses(1, 0);
    assert_eq!(story.wanted(), ["/down"]);
    story.ends(Ok(()), false).waits(0, 9).after(MINUTE * 20);
    assert!(story.wanted().is_empty() && story.is("down") && story.link.is_at_rest());
    // One that is being raised is lowered when it is up.
    let mut story = Story::new(settings());
    story.waits(0, 3);
    story.link.drain(story.now);
    assert!(!story.link.is_at_rest());
    story.ends(Ok(()), false);
    assert_eq!(story.wanted(), ["/up"]);
    story.uses(0, 0).uses(1, 0);
    assert_eq!(story.wanted(), ["/down"]);
}

#[test]
fn a_link_that_no_policy_knows_is_lowered_as_it_was_raised() {
    let mut story = Story::new(settings());
    story.waits(0, 3).ends(Ok(()), false).uses(0, 0).uses(1, 1);
    assert_eq!(story.wanted(), ["/up"]);
    story.link.set(story.now, None);
    assert!(story.wanted().is_empty() && story.is("closing"));
    story.uses(0, 0).uses(1, 0);
    assert_eq!(story.wanted(), ["/down"]);
    assert!(!story.link.is_forgotten());
    story.ends(Ok(()), false);
    story.wanted();
    assert!(story.link.is_forgotten());
    // A change of its settings is a reason to try at once.
    let mut story = Story::new(settings());
    story.waits(0, 3).ends(Err("no such file"), false);
    story.wanted();
    let mended = OnDemand { raise: program("/mended"), ..settings() };
    story.link.set(story.now, Some(Arc::new(mended)));
    assert_eq!(story.wanted(), ["/mended"]);
}
