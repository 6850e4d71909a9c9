//! The daemon under test: started on a data folder of its own, spoken to by
//! signal, control socket and log, stopped in any way, started again on the
//! same folder.
//!
//! Never looks into the data folder but for the log.

use std::cell::{Cell, RefCell};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::config::Config;
use super::control;
use super::process::{Process, Scratch, guarded};
use super::schema::misfits;
use super::wait::{PATIENCE, until, until_or_explain};

/// A daemon with its folder, running or not.
#[derive(Debug)]
pub struct Daemon {
    config: Config,
    scratch: Scratch,
    data: PathBuf,
    wrapper: Vec<String>,
    program: PathBuf,
    /// Where the appliance's first process would take orders.
    appliance: Option<PathBuf>,
    process: Option<Process>,
    log: RefCell<LogRead>,
    /// Lines about commands that the log will hold: one of each shard.
    commands: Cell<u64>,
}

/// How far the log was read, and what it said.
#[derive(Debug, Default)]
struct LogRead {
    offset: u64,
    lines: Vec<Value>,
}

/// What became of one recipient, by the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// `delivered`, `deferred`, `failed`, `expired`, `held`, …
    pub event: String,
    /// Status code, as `5.1.1`.
    pub status: String,
    /// The remote's words, or the daemon's.
    pub reply: String,
    /// Number of the attempt.
    pub attempt: u64,
    /// Whether it may have arrived all the same.
    pub in_doubt: bool,
    /// When the line was written.
    pub time: String,
}

impl Daemon {
    /// Starts it and waits until it is ready.
    pub fn start(config: Config) -> Self {
        let mut daemon = Self::prepare(config);
        daemon.launch();
        daemon
    }

    /// Makes everything ready, and starts nothing.
    pub fn prepare(config: Config) -> Self {
        let scratch = Scratch::new();
        let data = scratch.join("data");
        let program = tests::ringpost();
        let (wrapper, log, commands) = (Vec::new(), RefCell::default(), Cell::default());
        let (appliance, process) = (None, None);
        Self { config, scratch, data, wrapper, program, appliance, process, log, commands }
    }

    /// Starts it behind this command from now on, one that becomes the daemon
    /// by `exec`.
    pub fn behind(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Another folder for its data.
    pub fn with_data(mut self, data: &Path) -> Self {
        self.data = data.to_owned();
        self
    }

    /// As the daemon of an appliance, whose first process takes orders in the
    /// folder `appliance` of the story's own.
    pub fn of_appliance(mut self) -> Self {
        self.appliance = Some(self.scratch.open_folder("appliance"));
        self
    }

    /// Another program, a copy for instance.
    pub fn with_program(mut self, program: &Path) -> Self {
        self.program = program.to_owned();
        self
    }

    /// The story's own folder, which holds everything.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// Where it takes mail.
    pub fn address(&self) -> SocketAddr {
        self.config.listen()
    }

    /// The same, which takes mail there by now.
    pub fn at(mut self, address: SocketAddr) -> Self {
        self.config = self.config.taken_at(address);
        self
    }

    /// The folder of its data.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Replaces the configuration file; it is read at the next start or SIGHUP.
    pub fn configure(&mut self, config: Config) {
        self.scratch.write("ringpost.toml", &config.text());
        self.config = config;
    }

    /// Starts it without waiting for anything.
    pub fn spawn(&self) -> Process {
        let config = self.scratch.write("ringpost.toml", &self.config.text());
        let mut command = match self.wrapper.split_first() {
            Some((first, rest)) => {
                let mut command = guarded(first);
                command.args(rest).arg(&self.program);
                command
            }
            None => guarded(&self.program),
        };
        command.arg("serve").arg("--config").arg(config).arg("--data").arg(&self.data);
        if let Some(folder) = &self.appliance {
            command.arg("--appliance").arg(folder);
        }
        Process::start("ringpost", self.scratch.path(), &mut command)
    }

    /// Starts it and waits until it is ready; returns how long that took.
    ///
    /// # Panics
    /// It runs already, ends, or is not ready in time.
    pub fn launch(&mut self) -> Duration {
        assert!(self.process.is_none(), "the daemon runs already");
        let began = Instant::now();
        let mut process = self.spawn();
        until("the daemon to be ready", PATIENCE, || {
            let ready = process.said().lines().any(|line| line == "ready");
            let ended = process.ended();
            assert!(ended.is_none(), "the daemon ended: {ended:?}\n{}", process.complained());
            ready.then_some(())
        });
        let took = began.elapsed();
        self.process = Some(process);
        // Lines that an earlier life did not get to write never come. Reading a
        // long log takes this story time, not the daemon.
        self.commands.set(self.events("command").len() as u64);
        took
    }

    /// The process, which must run.
    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("the story started the daemon")
    }

    /// Ends it without warning, as a crash does.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("the story started the daemon");
        process.signal(Signal::KILL);
        process.wait(PATIENCE);
    }

    /// Asks it to end, and returns how it did.
    pub fn terminate(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("the story started the daemon");
        process.signal(Signal::TERM);
        process.wait(PATIENCE)
    }

    /// A crash and a new start.
    pub fn crash(&mut self) -> Duration {
        self.kill();
        self.launch()
    }

    /// One request over its control socket.
    pub fn ask(&self, method: &str, target: &str, body: &str) -> (u16, Value) {
        control::ask(&self.data.join("control.sock"), method, target, body)
    }

    /// The answer to a request that must succeed.
    pub fn show(&self, target: &str) -> Value {
        let (status, answer) = self.ask("GET", target, "");
        assert_eq!(status, 200, "{target}: {answer}");
        answer
    }

    /// A verb of the program, as an operator types it.
    pub fn verb(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(words).arg("--data").arg(&self.data);
        command
    }

    /// Messages that have a recipient without a final outcome.
    pub fn waiting(&self) -> u64 {
        let status = self.show("/v1/status");
        let waiting = status["messages"].as_u64();
        waiting.unwrap_or_else(|| panic!("status says nothing of what waits: {status}"))
    }

    /// Waiting recipients as `queue list` shows them, those that `filter` (as
    /// in a query string) means.
    pub fn list(&self, filter: &str) -> Vec<Value> {
        let separator = if filter.is_empty() { "" } else { "&" };
        let target = format!("/v1/queue?by=message&limit=10000{separator}{filter}");
        let rows = self.show(&target)["messages"].as_array().cloned();
        rows.expect("a list of messages has `messages`")
    }

    /// Does something to the waiting mail that `filter` (JSON) means; returns
    /// how many recipients that were.
    pub fn act(&self, act: &str, filter: &str) -> u64 {
        let (status, answer) = self.ask("POST", &format!("/v1/queue/{act}"), filter);
        assert_eq!(status, 200, "{act} {filter}: {answer}");
        let shards = self.show("/v1/status")["shards"].as_u64();
        let shards = shards.expect("the daemon counts its shards");
        self.commands.set(self.commands.get() + shards);
        answer["recipients"].as_u64().expect("an act says how many it met")
    }

    /// Waits until nothing waits any more, and the log tells all of it.
    pub fn until_empty(&self, patience: Duration) {
        let empty = || (self.waiting() == 0).then_some(());
        until_or_explain("an empty queue", patience, empty, || {
            let rows = self.list("");
            format!("{} recipients wait, some are: {:#?}", rows.len(), &rows[..rows.len().min(3)])
        });
        self.until_log_is_written();
    }

    /// Waits until everything logged so far is in the file: a command of ours
    /// that means nothing is logged behind it, by each shard.
    pub fn until_log_is_written(&self) {
        self.act("flush", r#"{"domain": "nowhere.invalid"}"#);
        let all = || (self.events("command").len() as u64 >= self.commands.get()).then_some(());
        until("the commands in the log", PATIENCE, all);
    }

    /// Everything that it wrote but its queue: the log's files as they stand,
    /// and what it said and complained of.
    pub fn all_logs(&self) -> String {
        self.until_log_is_written();
        let folder = fs::read_dir(self.data().join("log")).expect("the log is there").flatten();
        let mut text: String =
            folder.filter_map(|entry| fs::read_to_string(entry.path()).ok()).collect();
        text += &self.process().said();
        text += &self.process().complained();
        text
    }

    /// All log lines so far.
    pub fn log(&self) -> Vec<Value> {
        self.read_log();
        self.log.borrow().lines.clone()
    }

    /// Log lines of one kind so far.
    pub fn events(&self, event: &str) -> Vec<Value> {
        self.read_log();
        let log = self.log.borrow();
        log.lines.iter().filter(|line| line["event"] == event).cloned().collect()
    }

    /// Waits for a log line.
    pub fn until_logged(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(what, PATIENCE, || {
            self.read_log();
            self.log.borrow().lines.iter().find(|line| wanted(line)).cloned()
        })
    }

    /// What became of `recipient` so far, attempt by attempt.
    pub fn history(&self, recipient: &str) -> Vec<Settled> {
        self.read_log();
        let log = self.log.borrow();
        log.lines.iter().filter(|line| line["to"] == recipient).filter_map(settled).collect()
    }

    /// Waits until `recipient` has been settled `times` times.
    pub fn until_settled(&self, recipient: &str, times: usize) -> Vec<Settled> {
        let what = format!("{times} results for {recipient}");
        let look = || Some(self.history(recipient)).filter(|history| history.len() >= times);
        until_or_explain(&what, PATIENCE, look, || format!("{:#?}", self.history(recipient)))
    }

    /// Takes in what was appended to the log; a line that is not whole yet is
    /// left for the next time.
    fn read_log(&self) {
        let mut log = self.log.borrow_mut();
        let Ok(mut file) = File::open(self.data.join("log/ringpost.log")) else { return };
        let mut text = Vec::new();
        file.seek(SeekFrom::Start(log.offset)).expect("a file can be read from any place");
        file.read_to_end(&mut text).expect("the log can be read");
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            // A disk that was full for a while may have cut a line short.
            let cut = || Value::String(String::from_utf8_lossy(line).into_owned());
            let line = serde_json::from_slice(line).unwrap_or_else(|_| cut());
            if line.is_object() {
                hold_to_schema(&line);
            }
            log.lines.push(line);
        }
        log.offset += whole as u64;
    }
}

/// Every line of every story is one that the log's schema describes.
fn hold_to_schema(line: &Value) {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
        let path = tests::workspace().join("docs/events.schema.json");
        let text = fs::read_to_string(path).expect("the schema is there");
        serde_json::from_str(&text).expect("the schema is JSON")
    });
    let kinds = SCHEMA["oneOf"].as_array().expect("the schema lists the kinds");
    let kind = kinds.iter().find(|kind| kind["title"] == line["event"]);
    let kind = kind.unwrap_or_else(|| panic!("the schema knows no such event: {line}"));
    let misfits = misfits(&SCHEMA, kind, line);
    assert!(misfits.is_empty(), "{line} breaks the schema: {misfits:#?}");
}

fn settled(line: &Value) -> Option<Settled> {
    let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    Some(Settled {
        event: text("event"),
        status: text("status"),
        reply: text("reply"),
        attempt: line["attempt"].as_u64()?,
        in_doubt: line["in_doubt"] == true,
        time: text("time"),
    })
}
