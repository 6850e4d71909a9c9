//! Shared pieces of the house checks and of the stories told by the real daemon.
