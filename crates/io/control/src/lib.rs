//! The local socket between the command and the daemons.
