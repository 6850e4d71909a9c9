//! A real browser, without a window: Chromium, told what to do over its
//! debugging pipe.
//!
//! Never waits without an end. Invariant: everything that it asked the network
//! for, and everything that it complained of, is kept for the story to judge.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

use serde_json::{Value, json};

use super::process::{Process, Scratch, guarded, installed, run};
use super::wait::{PATIENCE, until_or_explain};

/// A browser with one open page.
#[derive(Debug)]
pub struct Browser {
    orders: File,
    answers: Receiver<Value>,
    session: String,
    number: u64,
    requests: Vec<String>,
    complaints: Vec<String>,
    _scratch: Scratch,
    _process: Process,
}

impl Browser {
    /// Starts it with a window of that size in pixels; nothing is open yet.
    ///
    /// # Panics
    /// It is not installed, or does not start.
    pub fn start(width: u32, height: u32) -> Self {
        let program = installed("chromium", "chromium");
        let scratch = Scratch::new();
        let (orders, answers) = (scratch.join("orders"), scratch.join("answers"));
        run(Command::new("mkfifo").args([&orders, &answers]), "coreutils");
        let profile = format!("--user-data-dir={}", scratch.join("profile").display());
        let mut command = guarded("sh");
        command
            .args(["-c", "exec \"$@\" 3<orders 4>answers", "sh"])
            .arg(program)
            .args(FLAGS)
            .arg(profile)
            .current_dir(scratch.path())
            .env("HOME", scratch.path());
        let process = Process::start("chromium", scratch.path(), &mut command);
        let to_it = OpenOptions::new().write(true).open(&orders).expect("the shell opens it too");
        let from_it = File::open(&answers).expect("the shell opens it too");
        let (heard, answers) = channel();
        std::thread::spawn(move || {
            for text in BufReader::new(from_it).split(0).map_while(Result::ok) {
                let value = serde_json::from_slice(&text).unwrap_or(Value::Null);
                if heard.send(value).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            orders: to_it,
            answers,
            session: String::new(),
            number: 0,
            requests: Vec::new(),
            complaints: Vec::new(),
            _scratch: scratch,
            _process: process,
        };
        let page = browser.tell("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        let session = browser.tell("Target.attachToTarget", attach);
        browser.session = session["sessionId"].as_str().expect("a session has an id").to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.tell(&format!("{domain}.enable"), json!({}));
        }
        browser.resize(width, height);
        browser
    }

    /// Makes its window another size.
    pub fn resize(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1,
                           "mobile": false });
        self.tell("Emulation.setDeviceMetricsOverride", size);
    }

    /// Whether its reader likes it `light` or `dark`.
    pub fn prefer(&mut self, scheme: &str) {
        let feature = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.tell("Emulation.setEmulatedMedia", json!({ "features": feature }));
    }

    /// Opens an address.
    pub fn open(&mut self, url: &str) {
        let opened = self.tell("Page.navigate", json!({ "url": url }));
        assert!(opened.get("errorText").is_none(), "{url}: {opened}");
    }

    /// What a script's last value is.
    ///
    /// # Panics
    /// The script fails.
    pub fn value(&mut self, script: &str) -> Value {
        let wanted = json!({ "expression": script, "returnByValue": true, "awaitPromise": true });
        let answer = self.tell("Runtime.evaluate", wanted);
        assert!(answer.get("exceptionDetails").is_none(), "{script}: {answer}");
        answer["result"]["value"].clone()
    }

    /// The text of the first element that a selector means; empty if there is
    /// none.
    pub fn text(&mut self, selector: &str) -> String {
        let script = format!("document.querySelector({})?.textContent ?? ''", json!(selector));
        self.value(&script).as_str().unwrap_or_default().to_owned()
    }

    /// Waits until a script says `true`.
    pub fn until(&mut self, what: &str, script: &str) {
        let cell = std::cell::RefCell::new(self);
        until_or_explain(
            what,
            PATIENCE,
            || (cell.borrow_mut().value(script) == true).then_some(()),
            || {
                let mut browser = cell.borrow_mut();
                let shown = browser.value("document.body.innerText");
                format!("{:#?}\nthe page shows: {shown}", browser.complaints())
            },
        );
    }

    /// Types a text, key by key, into what has the focus.
    pub fn type_text(&mut self, text: &str) {
        for letter in text.chars() {
            self.tell("Input.insertText", json!({ "text": letter }));
        }
    }

    /// Presses a key by its name, such as `Tab`.
    pub fn press(&mut self, key: &str, code: u32) {
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({ "type": kind, "key": key, "windowsVirtualKeyCode": code });
            if key == "Enter" && kind == "keyDown" {
                event["text"] = "\r".into();
            }
            self.tell("Input.dispatchKeyEvent", event);
        }
    }

    /// Every address that it asked for so far.
    pub fn requests(&mut self) -> &[String] {
        self.value("0");
        &self.requests
    }

    /// Everything that it complained of so far: errors of scripts, what its
    /// console was told as an error, what a policy kept from the page.
    pub fn complaints(&mut self) -> &[String] {
        self.value("0");
        &self.complaints
    }

    /// Forgets what it complained of: the story expected that.
    pub fn forget_complaints(&mut self) {
        self.value("0");
        self.complaints.clear();
    }

    /// Gives an order and waits for its answer.
    fn tell(&mut self, method: &str, params: Value) -> Value {
        self.number += 1;
        let mut order = json!({ "id": self.number, "method": method, "params": params });
        if !self.session.is_empty() {
            order["sessionId"] = json!(self.session);
        }
        let mut text = order.to_string().into_bytes();
        text.push(0);
        self.orders.write_all(&text).expect("the browser listens");
        loop {
            let heard = match self.answers.recv_timeout(PATIENCE) {
                Ok(heard) => heard,
                Err(RecvTimeoutError::Timeout) => panic!("no answer from the browser to {method}"),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the browser has ended: {}", self._process.complained())
                }
            };
            if heard["id"] == self.number {
                let error = &heard["error"];
                assert!(error.is_null(), "{method}: {error}");
                return heard["result"].clone();
            }
            self.note(&heard);
        }
    }

    fn note(&mut self, event: &Value) {
        let params = &event["params"];
        match event["method"].as_str().unwrap_or_default() {
            "Network.requestWillBeSent" => {
                let url = params["request"]["url"].as_str().unwrap_or_default();
                self.requests.push(url.to_owned());
            }
            "Runtime.exceptionThrown" => self.complaints.push(params.to_string()),
            "Runtime.consoleAPICalled" if params["type"] == "error" => {
                self.complaints.push(params.to_string());
            }
            "Log.entryAdded" if params["entry"]["level"] == "error" => {
                self.complaints.push(params["entry"].to_string());
            }
            _ => {}
        }
    }
}

/// No window, no sandbox that root could not have, nothing from elsewhere; and
/// a name that somebody has bent to point at this machine.
const FLAGS: [&str; 15] = [
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--disable-breakpad",
    "--no-first-run",
    "--no-proxy-server",
    "--mute-audio",
    "--host-resolver-rules=MAP bent.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];
