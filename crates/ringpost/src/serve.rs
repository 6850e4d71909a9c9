//! `ringpost serve`: the daemon, from configuration to `ready` and to the end.
//!
//! Order: configuration (its file and its history), server (probe, lock,
//! recovery, executors, listeners), control sockets, `ready`; then signals.
//! SIGTERM and SIGINT drain, SIGHUP reads the configuration file again.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use control::api::DetailRequest;
use control::{Focus, Policy, Request};
use runtime::alerts::Alerts;
use runtime::appliance::Appliance;
use runtime::busy;
use runtime::configuration::{self, Configuration};
use runtime::control_port::ControlPort;
use runtime::control_socket::{ControlSocket, Handler};
use runtime::http::HttpResponse;
use runtime::log_answers::LogAnswers;
use runtime::log_stream;
use runtime::meter::Meter;
use runtime::page_port::PagePort;
use runtime::pickup::Pickup;
use runtime::server::{Running, ServerSettings};
use runtime::signals::{Signal, Signals};
use runtime::support;

use crate::ServeArgs;
use crate::load;

/// How long a stop waits for what is under way.
pub const DRAIN_TIME: Duration = Duration::from_secs(30);
/// How long a command over the control socket may take.
const COMMAND_TIME: Duration = Duration::from_secs(50);

/// How long one who is attached is left without a sign of life.
const LINE_TIME: Duration = Duration::from_secs(1);

/// A running daemon with its control sockets.
pub struct Daemon {
    running: Arc<Running>,
    configuration: Option<Configuration>,
    sockets: Vec<ControlSocket>,
    page: Option<PagePort>,
    control: Option<ControlPort>,
    pickup: Option<Pickup>,
    meter: Option<Meter>,
    alerts: Option<Alerts>,
}

/// Runs the daemon until it is told to stop.
pub fn run(args: &ServeArgs) -> ExitCode {
    // Signals are taken over before any thread starts, so that all inherit it.
    let signals = match Signals::take() {
        Ok(signals) => signals,
        Err(error) => return fail(&format!("signals cannot be taken over: {error}")),
    };
    let mut daemon = match begin(args) {
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

/// Starts the daemon with what rules: the latest revision, or what the file
/// says anew.
fn begin(args: &ServeArgs) -> Result<Daemon, Box<dyn std::error::Error>> {
    let path = args.config.as_deref().unwrap_or(Path::new(load::DEFAULT_FILE));
    let folder = load::folder_of(path).to_path_buf();
    let beginning = configuration::begin(&args.data, load::file(args.config.as_deref())?)?;
    if let Some(complaint) = beginning.complaint() {
        eprintln!("{complaint}");
    }
    let of = match beginning.revision() {
        Some(number) => format!("revision {number}"),
        None => path.display().to_string(),
    };
    let config = load::checked(beginning.text(), &folder)
        .map_err(|refused| load::LoadError::Refused(of.into(), refused))?;
    for warning in &config.warnings {
        eprintln!("{warning}");
    }
    let policy = Arc::new(config.policy);
    let mut daemon = start(&args.data, policy.clone())?;
    let load = Box::new(load::Loader(folder));
    let running = daemon.running.clone();
    let configuration = Configuration::start(beginning, running, policy, load)?;
    let meter = Meter::start(daemon.running.clone(), &args.data)?;
    let alerts = Alerts::start(daemon.running.clone(), &args.data)?;
    let handler = daemon.handler(&configuration, &meter, &alerts, args);
    daemon.alerts = Some(alerts);
    (daemon.configuration, daemon.meter) = (Some(configuration), Some(meter));
    daemon.pickup = Some(Pickup::start(daemon.running.clone(), args.data.clone())?);
    let (all, reading) = (args.data.join("control.sock"), args.data.join("status.sock"));
    daemon.sockets.push(ControlSocket::serve(&all, 0o660, false, handler.clone())?);
    daemon.sockets.push(ControlSocket::serve(&reading, 0o660, true, handler.clone())?);
    let running = daemon.running.clone();
    let wanted = Box::new(move || running.page_listen());
    let complain = Box::new(|words: &str| eprintln!("{words}"));
    daemon.page = Some(PagePort::start(wanted, handler.clone(), complain)?);
    daemon.control = Some(ControlPort::start(daemon.running.clone(), handler)?);
    Ok(daemon)
}

/// Starts a daemon on `folder` that nobody can talk to.
///
/// # Errors
/// Plain sentences for the operator.
pub fn start(folder: &Path, policy: Arc<Policy>) -> Result<Daemon, Box<dyn std::error::Error>> {
    let settings = ServerSettings { folder: folder.to_path_buf(), policy };
    let running = Arc::new(Running::start(settings)?);
    let (sockets, configuration) = (Vec::new(), None);
    Ok(Daemon {
        running,
        configuration,
        sockets,
        page: None,
        control: None,
        pickup: None,
        meter: None,
        alerts: None,
    })
}

impl Daemon {
    /// Addresses that take mail.
    pub fn listening(&self) -> Vec<SocketAddr> {
        self.running.listening()
    }

    /// Drains for at most `time`, then ends.
    pub fn stop(&mut self, time: Duration) {
        self.sockets.clear();
        (self.page, self.control) = (None, None);
        self.pickup = None;
        self.configuration = None;
        self.running.drain(time);
        (self.alerts, self.meter) = (None, None);
        self.running.stop(time);
    }

    /// Reads the configuration file again. A bad one changes nothing.
    fn reload(&mut self, path: Option<&Path>) {
        let Some(configuration) = &self.configuration else { return };
        let read = load::file(path).map_err(|error| error.to_string());
        match read.and_then(|text| configuration.read_file(text)) {
            Ok(said) => eprintln!("{said}"),
            Err(why) => eprintln!("{why}\nthe old configuration stays in force"),
        }
    }

    /// Answers the control sockets.
    fn handler(
        &self,
        configuration: &Configuration,
        meter: &Meter,
        alerts: &Alerts,
        args: &ServeArgs,
    ) -> Handler {
        let (data, appliance) = (&args.data, Appliance::new(args.appliance.clone()));
        let machine = appliance.clone();
        let folder = data.join("log");
        let log = LogAnswers::new(folder.clone());
        let (running, configured) = (self.running.clone(), configuration.answerer());
        let (counted, alerts) = (meter.answerer(), alerts.answerer());
        let one: Handler = Arc::new(move |request, peer| {
            if let Some(response) = counted(&request) {
                return response;
            }
            if !request.reads_only() {
                running.log_command(&request.to_string(), &peer);
            }
            if let Request::Config(request) = request {
                return configured(*request, peer);
            }
            if let Request::Submit(message) = request {
                return answer_of(running.submit(*message, &peer.to_string(), COMMAND_TIME));
            }
            if let Request::QueueImport(message) = request {
                return answer_of(running.import(*message, COMMAND_TIME));
            }
            if request == Request::CheckEgress {
                return answer_of(running.check_egress());
            }
            if let Request::Detail(asked) = &request
                && let DetailRequest::Trace(focus) = &**asked
            {
                return attached(&running, focus);
            }
            if let Request::Appliance(request) = &request {
                return appliance.answer(request, &running.hostname());
            }
            if let Request::LogStream(asked) = &request {
                return log_stream::stream(&folder, asked);
            }
            if let Some(answer) = alerts(&request) {
                return answer_of(answer);
            }
            answer_of(match request {
                Request::Webhooks => running.webhooks(),
                Request::Syslogs => running.syslogs(),
                Request::Log(asked) => log.lines(&asked),
                Request::Failures(most) => log.failures(most),
                Request::Status => {
                    let mut answer = running.command(request, COMMAND_TIME);
                    busy::add_to(&mut answer.body);
                    running.add_to(&mut answer.body);
                    answer
                }
                request => running
                    .suspension(&request)
                    .or_else(|| running.detail(&request))
                    .unwrap_or_else(|| running.command(request, COMMAND_TIME)),
            })
        });
        let data = data.clone();
        let backups = configuration.backups();
        Arc::new(move |request, peer| match request {
            Request::SupportBundle(hides) => support::bundle(&one, &peer, &data, &machine, hides),
            request => backups.answer(&request, &peer, &one).unwrap_or_else(|| one(request, peer)),
        })
    }
}

/// What is said from now on, as it is said.
fn attached(running: &Arc<Running>, focus: &Focus) -> HttpResponse {
    match running.attach(focus.clone()) {
        Ok(mut attached) => HttpResponse::lines(move || Ok(attached.next(LINE_TIME))),
        Err(answer) => answer_of(answer),
    }
}

fn answer_of(answer: shard::command::Answer) -> HttpResponse {
    HttpResponse { file: answer.file, ..HttpResponse::json(answer.status, &answer.body) }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::from(1)
}
