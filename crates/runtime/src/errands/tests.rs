//! Real programs, each at one of its bounds.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use control::Program;

use super::*;

const AGES: Duration = Duration::from_secs(60);

fn script(text: &str) -> Errand {
    let words = ["/bin/sh", "-c", text].map(Box::from).to_vec();
    let program = Program::new(words).unwrap();
    Errand { program, timeout: AGES, output: Output::All, outlives: false }
}

fn ending(errand: &Errand) -> Ending {
    run(errand, &AtomicBool::new(false)).unwrap()
}

fn exited(code: i32, output: &str) -> Ending {
    Ending::Exited { code, output: Secret::new(output.as_bytes()) }
}

fn wait_until(what: &str, is: impl Fn() -> bool) {
    let end = Instant::now() + AGES;
    while !is() {
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}

/// A process that has ended, whether or not somebody has asked how.
fn is_gone(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    stat.map_or(true, |stat| stat.rsplit(')').next().unwrap().trim().starts_with('Z'))
}

#[test]
fn a_program_ends_and_says_how() {
    assert_eq!(ending(&script("echo up; echo well >&2")), exited(0, "up\nwell\n"));
    assert_eq!(ending(&script("exit 3")), exited(3, ""));
    assert_eq!(ending(&script("kill -9 $$")), Ending::Signalled(9));
    let quiet = Errand { output: Output::Written, ..script("echo token; echo oops >&2") };
    assert_eq!(ending(&quiet), exited(0, "token\n"));
    let nothing = Program::new(vec!["/nowhere/at all".into()]).unwrap();
    let nothing = Errand { program: nothing, ..script("") };
    assert!(run(&nothing, &AtomicBool::new(false)).is_err());
}

/// No word is taken for more than a word, and nothing of ours is handed on.
#[test]
fn a_program_gets_its_words_and_nothing_else() {
    let words = ["/bin/echo", "-n", "$HOME; `id` *"].map(Box::from).to_vec();
    let echo = Errand { program: Program::new(words).unwrap(), ..script("") };
    assert_eq!(ending(&echo), exited(0, "$HOME; `id` *"));
    let env = Program::new(vec!["/usr/bin/env".into()]).unwrap();
    let env = Errand { program: env, ..script("") };
    assert_eq!(ending(&env), exited(0, &format!("{}\n", PATH.to_str().unwrap())));
    assert_eq!(ending(&script("read line || echo no input")), exited(0, "no input\n"));
}

/// The daemon takes its signals where no thread is stopped by them; a program
/// must not be deaf for that.
#[test]
fn a_program_can_be_ended_by_signals_that_we_block_or_ignore() {
    let mut ours = SigSet::empty();
    ours.add(nix::sys::signal::Signal::SIGTERM);
    ours.thread_block().unwrap();
    assert_eq!(ending(&script("kill -TERM $$; exec sleep 60")), Ending::Signalled(15));
    assert_eq!(ending(&script("kill -PIPE $$; exec sleep 60")), Ending::Signalled(13));
}

#[test]
fn what_takes_too_long_is_killed_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pids");
    let text = format!("sleep 600 & echo $! > {0}.new; mv {0}.new {0}; wait", file.display());
    let late = Errand { timeout: Duration::from_secs(1), ..script(&text) };
    assert_eq!(ending(&late), Ending::Overdue);
    let pid = fs::read_to_string(&file).unwrap();
    wait_until("the child is killed too", || is_gone(&pid));
}

#[test]
fn what_is_kept_of_the_output_has_a_bound() {
    for (count, kept) in [(OUTPUT_BYTES_MAX, OUTPUT_BYTES_MAX), (1 << 20, OUTPUT_BYTES_MAX)] {
        let text = format!("head -c {count} /dev/zero");
        let Ending::Exited { code: 0, output } = ending(&script(&text)) else { panic!("{count}") };
        assert_eq!(output.expose().len(), kept);
    }
}

/// A link's daemon goes on when the program that began it has ended.
#[test]
fn children_that_stay_behind_keep_nobody_waiting() {
    let errand = script("sleep 600 & echo $!");
    let Ending::Exited { code: 0, output } = ending(&errand) else { panic!("it ended well") };
    let pid = String::from_utf8(output.expose().to_vec()).unwrap();
    assert!(!is_gone(&pid));
    let number = pid.trim().parse().ok().and_then(Pid::from_raw).unwrap();
    rustix::process::kill_process(number, Signal::KILL).unwrap();
}

#[test]
fn a_stop_kills_what_runs_but_what_outlives_it() {
    let folder = tempfile::tempdir().unwrap();
    let (begun, done) = (folder.path().join("begun"), folder.path().join("done"));
    let gate = folder.path().join("gate");
    let text = format!(
        "echo > {}; while [ ! -e {} ]; do sleep 0.01; done; echo > {}",
        begun.display(),
        gate.display(),
        done.display()
    );
    let stop = |errand: Errand| {
        let stopping = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let stopping = stopping.clone();
            move || run(&errand, &stopping).unwrap()
        });
        wait_until("it begins", || begun.exists());
        fs::remove_file(&begun).unwrap();
        stopping.store(true, Ordering::Release);
        thread.join().unwrap()
    };
    assert_eq!(stop(script(&text)), Ending::Overdue);
    let left = stop(Errand { outlives: true, ..script(&text) });
    assert!(matches!(left, Ending::NotStarted(_)), "{left:?}");
    fs::write(&gate, "").unwrap();
    wait_until("it goes on by itself", || done.exists());
}

fn runner() -> (Arc<[Arc<Inbox>]>, Runner, Arc<AtomicBool>) {
    let inboxes: Arc<[Arc<Inbox>]> = [Arc::new(Inbox::new().unwrap())].into();
    let stopping = Arc::new(AtomicBool::new(false));
    let (runner, _) = start(&inboxes, &stopping).unwrap();
    (inboxes, runner, stopping)
}

fn job(number: u64, errand: Errand) -> Job {
    Job { shard: ShardId(0), number, errand: Box::new(errand) }
}

fn lines(file: &Path) -> Vec<String> {
    fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// So many at once, so many that wait, each answered once.
#[test]
fn programs_at_once_and_in_waiting_have_bounds() {
    let (inboxes, runner, stopping) = runner();
    let folder = tempfile::tempdir().unwrap();
    let (log, gate) = (folder.path().join("log"), folder.path().join("gate"));
    let text = format!(
        "echo begins >> {0}; while [ ! -e {1} ]; do sleep 0.01; done; echo ends >> {0}",
        log.display(),
        gate.display()
    );
    for number in 0..THREADS as u64 {
        runner.run(job(number, script(&text))).unwrap();
    }
    wait_until("all threads are busy", || lines(&log).len() == THREADS);
    for number in 0..WAITING_MAX as u64 {
        let errand = if number < 3 { script(&text) } else { script("exit 7") };
        runner.run(job(100 + number, errand)).unwrap();
    }
    let (number, refused) = runner.run(job(999, script(&text))).unwrap_err();
    assert!(matches!(refused, Ending::NotStarted(why) if why.contains("too many")));
    assert_eq!(number, 999);
    fs::write(&gate, "").unwrap();
    let seen = RefCell::new(BTreeSet::new());
    wait_until("all are answered", || {
        while let Some(mail) = inboxes[0].take() {
            let Mail::Ran { number, ending } = mail else { panic!("another answer") };
            let code = if number >= 103 { 7 } else { 0 };
            assert_eq!(ending, exited(code, ""), "{number}");
            assert!(seen.borrow_mut().insert(number), "{number} came twice");
        }
        seen.borrow().len() == THREADS + WAITING_MAX
    });
    let (mut at_once, mut most) = (0, 0);
    for line in lines(&log) {
        at_once = if line == "begins" { at_once + 1 } else { at_once - 1 };
        most = most.max(at_once);
    }
    assert_eq!(most, THREADS);
    stopping.store(true, Ordering::Release);
}
