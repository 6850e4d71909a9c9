//! Why a question stayed without an answer. Never a reason to bounce: each of
//! these may be gone at the next try (RFC 5321 §5.1, RFC 9520 §2).

/// Why the answer is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Reason {
    /// No server answered in time.
    #[error("no name server answered in time")]
    PeerTimeout,
    /// A server reported a failure of its own: SERVFAIL or a code that says no
    /// more than that.
    #[error("the name server failed (SERVFAIL)")]
    PeerServerFailure,
    /// A server would not answer us.
    #[error("the name server refused the query (REFUSED)")]
    PeerRefused,
    /// A server did not understand a plain query.
    #[error("the name server did not understand the query")]
    PeerFormat,
    /// The right answer to the right question, but malformed.
    #[error("the name server's answer was malformed")]
    PeerMalformed,
    /// A referral or an empty answer of a server that does not resolve for us.
    #[error("the name server does not resolve names for us")]
    PeerNotRecursive,
    /// Truncated where no truncation may be (RFC 7766 §5).
    #[error("the name server's answer was truncated over TCP")]
    PeerTruncated,
    /// More CNAMEs than are followed, or a circle of them.
    #[error("the name is an alias of an alias without end")]
    PeerAliasLoop,
    /// The socket to the server broke: refused, unreachable, closed.
    #[error("the name server could not be reached")]
    PeerUnreachable,
    /// Too many look-ups under way.
    #[error("too many look-ups are under way")]
    LocalBusy,
    /// There is no server to ask.
    #[error("no name server is configured")]
    LocalNoServers,
}
