//! `ringpost serve`: the daemon, from configuration to `ready` and to the end.
//!
//! Order: configuration, server (probe, lock, recovery, executors, listeners),
//! control sockets, `ready`; then signals. SIGTERM and SIGINT drain, SIGHUP
//! reads the configuration again.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use control::{Policy, Request};
use runtime::control_socket::{ControlSocket, Handler};
use runtime::http::HttpResponse;
use runtime::server::{Running, ServerSettings};
use runtime::signals::{Signal, Signals};

use crate::ServeArgs;
use crate::load;

/// How long a stop waits for what is under way.
pub const DRAIN_TIME: Duration = Duration::from_secs(30);
/// How long a command over the control socket may take.
const COMMAND_TIME: Duration = Duration::from_secs(50);

/// A running daemon with its control sockets.
pub struct Daemon {
    running: Arc<Running>,
    policy: Arc<Mutex<Arc<Policy>>>,
    sockets: Vec<ControlSocket>,
}

/// Runs the daemon until it is told to stop.
pub fn run(args: &ServeArgs) -> ExitCode {
    // Signals are taken over before any thread starts, so that all inherit it.
    let signals = match Signals::take() {
        Ok(signals) => signals,
        Err(error) => return fail(&format!("signals cannot be taken over: {error}")),
    };
    let config = match load::configuration(args.config.as_deref()) {
        Ok(config) => config,
        Err(error) => return fail(&error.to_string()),
    };
    for warning in &config.warnings {
        eprintln!("{warning}");
    }
    let mut daemon = match start(&args.data, Arc::new(config.policy), Some(&args.data)) {
        Ok(daemon) => daemon,
        Err(error) => return fail(&error.to_string()),
    };
    for address in daemon.listening() {
        println!("listening {address}");
    }
    println!("ready");
    loop {
        match signals.wait() {
            Signal::Reload => daemon.reload(args.config.as_deref()),
            Signal::Stop => {
                daemon.stop(DRAIN_TIME);
                return ExitCode::SUCCESS;
            }
        }
    }
}

/// Starts a daemon on `folder`; with control sockets in `sockets`, if given.
///
/// # Errors
/// Plain sentences for the operator.
pub fn start(
    folder: &Path,
    policy: Arc<Policy>,
    sockets: Option<&Path>,
) -> Result<Daemon, Box<dyn std::error::Error>> {
    let settings = ServerSettings { folder: folder.to_path_buf(), policy: policy.clone() };
    let running = Arc::new(Running::start(settings)?);
    let policy = Arc::new(Mutex::new(policy));
    let mut daemon = Daemon { running, policy, sockets: Vec::new() };
    if let Some(place) = sockets {
        let handler = daemon.handler();
        let (all, reading) = (place.join("control.sock"), place.join("status.sock"));
        daemon.sockets.push(ControlSocket::serve(&all, 0o660, false, handler.clone())?);
        daemon.sockets.push(ControlSocket::serve(&reading, 0o660, true, handler)?);
    }
    Ok(daemon)
}

impl Daemon {
    /// Addresses that take mail.
    pub fn listening(&self) -> Vec<SocketAddr> {
        self.running.listening()
    }

    /// Drains for at most `time`, then ends.
    pub fn stop(&mut self, time: Duration) {
        self.sockets.clear();
        self.running.stop(time);
    }

    /// Reads the configuration again. A bad one changes nothing.
    fn reload(&mut self, path: Option<&Path>) {
        match load::configuration(path) {
            Ok(config) => {
                let policy = Arc::new(config.policy);
                if let Err(why) = self.running.set_policy(policy.clone()) {
                    eprintln!("the configuration was not taken: {why}");
                    return;
                }
                *self.policy.lock().unwrap_or_else(PoisonError::into_inner) = policy;
                eprintln!("configuration read again");
            }
            Err(error) => eprintln!("{error}\nthe old configuration stays in force"),
        }
    }

    /// Answers the control sockets.
    fn handler(&self) -> Handler {
        let (running, policy) = (self.running.clone(), self.policy.clone());
        Arc::new(move |request, peer| {
            if !request.reads_only() {
                running.log_command(&request.to_string(), peer.uid, peer.pid);
            }
            if request == Request::ConfigShow {
                let policy = policy.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let body = serde_json::json!({ "toml": policy.effective_toml() }).to_string();
                return HttpResponse { status: 200, body, allow: None };
            }
            let answer = running
                .suspension(&request)
                .unwrap_or_else(|| running.command(request, COMMAND_TIME));
            HttpResponse { status: answer.status, body: answer.body.to_string(), allow: None }
        })
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::from(1)
}
