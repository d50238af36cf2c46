//! The data plane's sockets.
