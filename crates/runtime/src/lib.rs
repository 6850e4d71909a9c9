//! Floor 6: glommio executors, sockets, TLS, clocks, control socket, log files.
