//! Load source, mail sink and name server for demo and bench; shares no code with the runtime.
