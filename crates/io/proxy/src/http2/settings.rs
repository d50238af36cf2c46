//! What we tell the other side of an HTTP/2 connection about ourselves (RFC 9113 §6.5.2), and other bounds of one.

use std::time::Duration;

/// Requests that a client may have under way on one connection (SETTINGS_MAX_CONCURRENT_STREAMS).
///
/// What the specification recommends at least (RFC 9113 §6.5.2), and HAProxy's and Envoy's default.
pub(crate) const MAX_STREAMS: u32 = 100;

/// Content that may come on one stream before the server has taken any (SETTINGS_INITIAL_WINDOW_SIZE).
///
/// Over a way of 50 ms an upload reaches 256 KiB / 50 ms = 5 MB/s, a good home connection.
pub(crate) const STREAM_WINDOW: u32 = 256 * 1024;

/// Content that may come on all streams of a connection before servers have taken any: four uploads at full speed. It
/// is also the most memory that a client's content can take up: 20,000 clients that all send at once to servers that
/// take nothing would be refused by the deadlines before that.
pub(crate) const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Largest frame that we take (SETTINGS_MAX_FRAME_SIZE): the default, for larger ones only delay other streams.
pub(crate) const MAX_FRAME_BYTES: u32 = 16 * 1024;

/// Content of an answer that may wait for the connection, on one stream: two frames. With 100 streams 3.2 MiB for a
/// client that opened every window and reads nothing.
pub(crate) const SEND_BUFFER_BYTES: usize = 32 * 1024;

/// Room in the table of fields that the other side may refer back to (SETTINGS_HEADER_TABLE_SIZE): the default.
pub(crate) const HEADER_TABLE_BYTES: u32 = 4096;

/// Streams that are remembered after we reset them, so that what was under way for them is no error: as many as may be
/// open at once.
pub(crate) const RESET_STREAMS: usize = 100;

/// How long they are remembered: longer than a round trip to the other end of the world.
pub(crate) const RESET_MEMORY: Duration = Duration::from_secs(1);

/// Streams on which the client broke a rule of HTTP/2 before the connection ends (CVE-2025-8671), over its whole life:
/// an honest client breaks none, one with a fault breaks the same one with each request.
pub(crate) const MAX_BROKEN_STREAMS: usize = 200;

/// Bytes written by streams and not sent yet, beyond which streams must wait: a few frames, one long send.
pub(crate) const MAX_UNSENT_BYTES: usize = 64 * 1024;

/// Longest list of fields of a server's answer (SETTINGS_MAX_HEADER_LIST_SIZE): what the scratch buffer of a worker holds
/// as text.
pub(crate) const ANSWER_HEAD_BYTES: u32 = 64 * 1024;
