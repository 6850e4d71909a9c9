//! Every bound that is fixed when the program is built, with its reason.
//! Bounds an operator may set live in the configuration (`control`).

/// Octets of a local part (RFC 5321 §4.5.3.1.1).
pub const LOCAL_PART_BYTES_MAX: usize = 64;
/// Octets of a domain (RFC 5321 §4.5.3.1.2).
pub const DOMAIN_BYTES_MAX: usize = 255;
/// Octets of a path with its angle brackets (RFC 5321 §4.5.3.1.3).
pub const PATH_BYTES_MAX: usize = 256;
/// Octets of a command line with its CRLF: 512 of RFC 5321 §4.5.3.1.4, the
/// growth of every extension offered (SIZE 26, BODY 16, SMTPUTF8 10, DSN 500
/// for RCPT), rounded up generously.
pub const COMMAND_LINE_BYTES_MAX: usize = 2_048;
/// Octets of a line of AUTH, or of a response in it, with its CRLF
/// (RFC 4954 §4).
pub const AUTH_LINE_BYTES_MAX: usize = 12_288;
/// Octets of a line of text with its CRLF (RFC 5321 §4.5.3.1.6).
pub const TEXT_LINE_BYTES_MAX: usize = 1_000;
/// Octets of one line of a peer's reply that are read before it is given up.
pub const REPLY_LINE_BYTES_MAX: usize = 4_096;
/// Octets of a peer's whole multi-line reply.
pub const REPLY_BYTES_MAX: usize = 65_536;
/// Octets kept of a peer's reply for logs, reports and operators, escapes
/// included.
pub const REPLY_TEXT_BYTES_MAX: usize = 1_024;
/// Octets that a submitting client may send ahead while its message is being
/// made durable; then its connection is not read from.
pub const SENT_AHEAD_BYTES_MAX: usize = 65_536;
/// Octets of a message's header: everything that looks at one later (reports,
/// signatures) stays within it.
pub const HEADER_BYTES_MAX: usize = 1 << 20;
/// `Received` fields after which a message is taken for a loop (RFC 5321 §6.3).
pub const RECEIVED_FIELDS_MAX: usize = 100;
/// Executors in one process.
pub const SHARDS_MAX: usize = 256;

/// Mail exchangers used of one MX answer (RFC 5321 §5.1 asks for at least 2).
pub const EXCHANGERS_MAX: usize = 16;
/// Addresses used of one exchanger, both families together.
pub const ADDRESSES_PER_HOST_MAX: usize = 8;
/// Addresses tried in one delivery attempt.
pub const ADDRESSES_PER_ATTEMPT_MAX: usize = 32;
/// CNAMEs followed from one question.
pub const CNAME_CHAIN_MAX: usize = 8;

/// Crashes in a row with the same attempt open after which its mail is held
/// instead of tried again: one poisonous message must not stop the program for
/// ever.
pub const OPEN_ATTEMPT_CRASHES_MAX: u8 = 3;

const _: () = assert!(LOCAL_PART_BYTES_MAX + 1 < PATH_BYTES_MAX);
const _: () = assert!(ADDRESSES_PER_ATTEMPT_MAX >= 2);
const _: () = assert!(REPLY_LINE_BYTES_MAX <= REPLY_BYTES_MAX);
