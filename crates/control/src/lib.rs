//! Floor 2: configuration, modes, routes, retry and expiry, limits, placement.
//!
//! Tables, numbers and text. No side effect, no clock, no file: text and
//! moments come in as arguments, a checked [`Policy`] goes out, and shards swap
//! whole ones between two steps.

pub mod alert;
pub mod api;
pub mod appliance;
pub mod backup;
pub mod certificate;
pub mod config;
pub mod credentials;
pub mod delivery;
pub mod diff;
pub mod edit;
pub mod exit;
pub mod explain;
pub mod help;
pub mod local;
pub mod log_in;
pub mod maildir;
pub mod metrics;
pub mod mode;
pub mod network;
pub mod placement;
pub mod policy;
pub mod pop;
pub mod preset;
pub mod program;
pub mod remote;
pub mod render;
pub mod reports;
pub mod retry;
pub mod revisions;
pub mod route;
pub mod sink;
pub mod site;
pub mod submission;
pub mod suspension;
pub mod throttle;
pub mod timetable;
pub mod token;
pub mod units;
pub mod uplink;
pub mod users;
pub mod watch;

pub use alert::AlertSettings;
pub use api::{ApiError, By, ConfigRequest, Facts, Filter, QueueAct, Request, State, Why};
pub use config::{Config, Diagnostic, Refused, Severity};
pub use delivery::{Delivery, RouteIndex};
pub use exit::{Exit, Exits, Pool, Proxy, ProxyKind, Source};
pub use local::{Accepted, Fate, Local, Locals, Nobody, Unknown};
pub use log_in::{AUTH_METHODS, AuthMethod, LogIn, Origin, SecretKind, Senders};
pub use maildir::{Folder, Maildir};
pub use metrics::MetricsSettings;
pub use mode::{Mode, OnFailure, Smarthost, Timeouts, TlsMode, Trust};
pub use network::Network;
pub use placement::{Placement, owner, place};
pub use policy::{
    DnsSettings, DsnSettings, Egress, Family, InDoubt, InDoubtPolicy, LogLevel, LogSettings,
    PageSettings, PickupSettings, Policy, QueueSettings, RoutesInRelayMode,
};
pub use pop::PopFirst;
pub use program::{Ending, Program};
pub use remote::{Authority, RemoteControl};
pub use reports::{NotifyTo, Reports};
pub use retry::{Next, Retry, RetryAfter, Trouble};
pub use route::{Pattern, RouteTable};
pub use sink::{Selection, Syslog, SyslogTo, Url, Webhook};
pub use site::Site;
pub use submission::{Identity, IntakeLimits, Listener, Submission};
pub use suspension::{Scope, Suspension, Suspensions, Whereabouts};
pub use throttle::{Bank, Decision, Limits, Verdict, Want};
pub use timetable::Timetable;
pub use token::{Token, TokenCommand};
pub use units::{Rate, Size, Span};
pub use uplink::{LinkAct, LinkFailure, LinkState, Need, News, OnDemand, Uplink};
pub use users::{User, Users};
pub use watch::{Direction, Focus, Sighting, Slots, Watch, WatchError, Watches};
