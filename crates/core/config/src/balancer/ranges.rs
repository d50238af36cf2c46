//! Ranges and defaults of `balancer.toml`, each with its reason.
//!
//! The defaults are for a box that nobody tunes, on the night when it matters: they bound every wait below
//! a client's patience and every queue below what a box with 1 GiB of memory holds.

use core::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use super::{ForwardField, ForwardFields};
use crate::range::{Count, Span, hours, mins, ms, secs};

/// Most listeners: each costs a socket on each worker; a site has two or three.
pub(super) const MAX_LISTENERS: usize = 64;

/// Most pools: a listener has one, and as many again stand by.
pub(super) const MAX_POOLS: usize = 256;

/// Most routes: the largest sites keep some thousand; each takes about 1 KiB on each worker.
pub(super) const MAX_ROUTES: usize = 20_000;

/// Most pools that a route shares its clients among: a current release, a new one, and experiments.
pub(super) const MAX_SHARES: usize = 16;

/// Most servers in a pool.
///
/// A pick looks at a few of them however many there are; what grows with them is the work on a change of
/// health, about 10 µs for 1,024, and their counters, about 300 bytes a server and worker.
pub(super) const MAX_SERVERS: usize = 1024;

/// Most source addresses of a pool: each has some 28,000 ports towards each server, sixteen of them 450,000.
pub(super) const MAX_SOURCES: usize = 16;

/// Metrics and status are for the box itself unless the file says otherwise.
pub(super) const ADMIN_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9900);

/// Client connections at once.
///
/// An idle one costs about 2 KiB here and as much in the kernel, a busy one up to 100 KiB:
/// 20,000 × 4 KiB + 4,000 busy × 100 KiB = 470 MiB, less than half of a box with 1 GiB.
pub(super) const MAX_CLIENTS: Count = Count::new(1, 20_000, 1_000_000);

/// Heads in the size that HAProxy and Node.js take by default (16 KiB); most are below 2 KiB. The scratch
/// buffer of a worker, 64 KiB, is the upper bound.
pub(super) const REQUEST_HEAD_BYTES: Count = Count::new(1024, 16 << 10, 64 << 10);

/// Answers carry cookies and policies of several kilobytes; twice a request's head.
pub(super) const RESPONSE_HEAD_BYTES: Count = Count::new(1024, 32 << 10, 64 << 10);

/// Content streams through without being held, so this only stops what cannot be meant: 1 GiB is the
/// largest hand-in that course sites allow.
pub(super) const REQUEST_BODY_BYTES: Count = Count::new(0, 1 << 30, 1 << 44);

/// A head is one or two packets; 10 s lets three of them be lost (1 + 2 + 4 s, RFC 6298 §5.5) and starves
/// who sends a byte at a time.
pub(super) const CLIENT_HEAD: Span = Span::new(ms(100), secs(10), mins(10));

/// A hand-in over a bad radio link pauses for seconds, not for half a minute.
pub(super) const CLIENT_BODY_IDLE: Span = Span::new(ms(100), secs(30), hours(1));

/// As long as for what a client sends.
pub(super) const CLIENT_WRITE_IDLE: Span = Span::new(ms(100), secs(30), hours(1));

/// Browsers give up idle connections after 60 s to 300 s; nginx holds them for 75 s. Idle ones are cheap.
pub(super) const KEEP_ALIVE_IDLE: Span = Span::new(ms(100), secs(60), hours(1));

/// A server in the same house answers within a millisecond. 2 s let one SYN be lost (its repetition comes
/// after 1 s, RFC 6298 §2.1) and leave time for two other servers before a student loads again.
pub(super) const CONNECT: Span = Span::new(ms(10), secs(2), mins(1));

/// The slowest honest pages (reports, exports) take some 20 s; nginx waits 60 s, Envoy 15 s.
pub(super) const SERVER_HEAD: Span = Span::new(ms(10), secs(30), hours(1));

/// A server that has begun to answer and then pauses for half a minute has been lost.
pub(super) const SERVER_BODY_IDLE: Span = Span::new(ms(10), secs(30), hours(1));

/// Below the shortest keep-alive of common servers (Apache and Node.js: 5 s), so that we close first and
/// seldom race with the server's close.
pub(super) const SERVER_KEEP_IDLE: Span = Span::new(ms(10), secs(4), hours(1));

/// Sessions of databases and WebSockets are silent for long; an hour is HAProxy's usual `timeout tunnel`.
pub(super) const TUNNEL_IDLE: Span = Span::new(ms(100), hours(1), hours(24));

/// A handshake is two round trips and half a millisecond of work; like a head it must survive three lost packets.
pub(super) const TLS_HANDSHAKE: Span = Span::new(ms(100), secs(10), mins(10));

/// Certificates of a listener beside its first: an institution's names; each costs about 10 KiB once for all workers.
pub(super) const MAX_CERTIFICATES: usize = 1000;

/// Rules by name of a listener: an institution's services, each with a pool.
pub(super) const MAX_SNI_RULES: usize = 256;

/// Names of a rule.
pub(super) const MAX_SNI_NAMES: usize = 256;

/// Names of a certificate that is got by ACME: what Let's Encrypt puts into one.
pub(super) const MAX_DOMAINS: usize = 100;

/// Every six hours, so that who steals a key of the box reads at most half a day of old sessions without forward
/// secrecy (rustls's own default). Twice the longest stays below the week of RFC 8446 §4.6.1; 0 is for no tickets.
pub(super) const TICKET_ROTATION: Span = Span::new(ms(0), hours(6), hours(84));

/// As long as the slowest honest answer, so that an update or a reload cuts nobody off.
pub(super) const DRAIN: Span = Span::new(ms(0), secs(30), hours(1));

/// The proxy in front has the header ready; 5 s let two packets be lost (1 + 2 s, RFC 6298 §5.5).
pub(super) const PROXY_HEADER: Span = Span::new(ms(100), secs(5), mins(1));

/// QUIC's usual idle timeout is 30 s, and its clients keep a connection alive every 25 s; a question to a DNS server is
/// answered or lost after 5 s. Twice the longer one lets a lost datagram be sent again.
pub(super) const UDP_IDLE: Span = Span::new(ms(100), secs(60), hours(1));

/// Each session holds a descriptor and about 3 KiB here and in the kernel: 20,000 are 60 MiB.
pub(super) const UDP_SESSIONS: Count = Count::new(1, 20_000, 1_000_000);

/// Sessions that a server of a UDP pool has at once: a session is a client that may be silent, not a request under way.
/// The kernel has about 28,000 source ports towards one server.
pub(super) const SERVER_SESSIONS: Count = Count::new(1, 20_000, 1_000_000);

/// A question of a health check over UDP and what its answer must have: they fit one packet.
pub(super) const CHECK_DATAGRAM_BYTES: usize = 1200;

/// All of them: a line costs about a microsecond of the worker, and who cannot afford that says so.
pub(super) const LOG_SAMPLE: Count = Count::new(0, 1000, 1000);

/// One trace in a hundred shows what all are like; a site with 1,000 requests a second sends 20 spans a second.
pub(super) const TRACING_SAMPLE: Count = Count::new(0, 10, 1000);

/// The default of OpenTelemetry's batching processor, at about 1 KiB a span 2 MiB; the most is 64 MiB.
pub(super) const TRACING_QUEUE: Count = Count::new(1, 2048, 65_536);

/// The default of OpenTelemetry's batching processor; the most stays below the 4 MiB that collectors take at once.
pub(super) const TRACING_BATCH: Count = Count::new(1, 512, 2048);

/// The default of OpenTelemetry's batching processor.
pub(super) const TRACING_INTERVAL: Span = Span::new(ms(10), secs(5), mins(1));

/// The default of OTLP exporters.
pub(super) const TRACING_DEADLINE: Span = Span::new(ms(100), secs(10), mins(1));

/// HAProxy's interval; with `fall = 3` a silent server is out after 6 s even without traffic, while
/// passive ejection needs only the next requests.
pub(super) const CHECK_INTERVAL: Span = Span::new(ms(50), secs(2), hours(1));

/// As long as the interval: a server that is slow under load must not be taken away for being slow.
pub(super) const CHECK_TIMEOUT: Span = Span::new(ms(10), secs(2), hours(1));

/// One lucky answer is not yet health (HAProxy: 2).
pub(super) const CHECK_RISE: Count = Count::new(1, 2, 100);

/// One lost packet is not yet illness (HAProxy: 3).
pub(super) const CHECK_FALL: Count = Count::new(1, 3, 100);

/// What a working server may answer to a check.
///
/// Below 500 it is at work, even where it asks for a password or does not know the path.
pub(super) const CHECK_STATUS: (u16, u16) = (200, 499);

/// Envoy's count: at a chance failure rate of 1 % five in a row come once in 10^10 requests.
pub(super) const EJECTION_FAILURES: Count = Count::new(1, 5, 1000);

/// Five checks' intervals; Envoy's 30 s would outlast most restarts of a server.
pub(super) const EJECTION_BASE: Span = Span::new(ms(50), secs(10), hours(1));

/// Envoy's bound on the growing time, 300 s.
pub(super) const EJECTION_MOST: Span = Span::new(ms(50), mins(5), hours(24));

/// Half of the pool: more failing at once is not the servers' own fault, and leaving them out would push
/// all the load onto what remains.
pub(super) const EJECTION_SHARE: Count = Count::new(0, 500, 1000);

/// What Apache's prefork works on at once by default (MaxRequestWorkers, 256): more would wait in the
/// server's accept queue, where it cannot be seen, bounded or sent elsewhere.
pub(super) const SERVER_CONNECTIONS: Count = Count::new(1, 256, 1_000_000);

/// Each holds a connection to a client and one to a server, some KiB in either kernel: 8,192 of them some tens of MiB,
/// and well below the descriptors of a process. Too many for servers with a thread for each connection, which want 0.
pub(super) const STALLED_REQUESTS: Count = Count::new(0, 8192, 1_000_000);

/// What one server with 256 at once and pages of 0.5 s works off within the queue's deadline of 5 s is
/// 2,560; each that waits may hold 16 KiB, together 32 MiB.
pub(super) const QUEUE_LENGTH: Count = Count::new(0, 2048, 1_000_000);

/// Who has waited 5 s has pressed reload; an answer now would be for nobody.
pub(super) const QUEUE_DEADLINE: Span = Span::new(ms(1), secs(5), mins(10));

/// Two other servers after the first.
pub(super) const RETRY_ATTEMPTS: Count = Count::new(0, 2, super::Retry::MOST_ATTEMPTS as u64);

/// A tenth: with everything failing, servers see 1.1 times the load instead of 3 times.
pub(super) const RETRY_BUDGET: Count = Count::new(0, 100, 1000);

/// Long enough for caches to fill, short beside an exam.
pub(super) const SLOW_START: Span = Span::new(ms(0), secs(10), hours(1));

/// A quarter above its part: the bound that Mirrokni, Thorup and Zadimoghaddam ("Consistent Hashing with Bounded
/// Loads", 2017) and HAProxy's users settled on; below it few requests move, above it a hot key hurts.
pub(super) const LOAD_BOUND: Count = Count::new(1000, 1250, 10_000);

/// Half: of two servers one may fail and the others still stand by; of three one may.
pub(super) const FAILOVER_ENTER: Count = Count::new(1, 500, 1000);

/// Well above the half at which they came, so that a server that comes and goes does not move the site twice
/// each time; with its slow start a server that has returned counts by degrees.
pub(super) const FAILOVER_LEAVE: Count = Count::new(1, 700, 1000);

/// Ten ranks: more sites than anyone has.
pub(super) const PRIORITY: Count = Count::new(0, 0, 9);

/// A fiftieth: little beside the retries, and as much as a server of fifty in trouble needs.
pub(super) const HEDGE_BUDGET: Count = Count::new(0, 20, 1000);

/// Below a millisecond the second request costs more than it can win.
pub(super) const HEDGE_LEAST: Duration = ms(1);

/// Who has waited a minute has gone.
pub(super) const HEDGE_MOST: Duration = mins(1);

/// What servers are told unless the file says otherwise: what HAProxy's and nginx's users configure by hand, and Via,
/// which a gateway must send (RFC 9110 §7.6.3).
pub(super) const FORWARD_FIELDS: ForwardFields = ForwardFields::NONE
    .with(ForwardField::XForwardedFor)
    .with(ForwardField::XForwardedProto)
    .with(ForwardField::Via);

/// Each field once.
pub(super) const MAX_FORWARD_FIELDS: usize = 6;

/// Networks that are trusted: the largest content delivery networks publish some 20 of IPv4 and as many of IPv6.
pub(super) const MAX_TRUSTED: usize = 256;

/// Often enough for servers that are replaced within a minute; a resolver answers one question in 30 s for nothing.
pub(super) const DISCOVERY_INTERVAL: Span = Span::new(secs(1), secs(30), hours(1));

/// Answers with a time to live of 0 or 1 are common in clusters; asking every second helps nobody.
pub(super) const DISCOVERY_LEAST: Span = Span::new(ms(100), secs(5), hours(1));

/// Every port but 0.
pub(super) const DISCOVERY_PORT: Count = Count::new(1, 80, 65_535);

/// Three are what resolv.conf allows; a few more harm nobody.
pub(super) const MAX_RESOLVERS: usize = 8;

/// How long a client may pause, or keeps its server: browsers forget after 400 days at the latest (RFC 6265bis §5.5). The
/// default is only a formality: left out there is no bound.
pub(super) const STICKY_TIME: Span = Span::new(secs(1), hours(24), hours(24 * 400));

/// Connections of one source at once; left out it is half of the clients, so that one source alone shuts nobody out while
/// a campus behind one address, 5,000 people with two connections each, still fits into the default.
pub(super) const SOURCE_CONNECTIONS: Count = Count::new(1, 10_000, 1_000_000);

/// An address of IPv4 is one household or one site; shorter prefixes are for floods out of one provider's network.
pub(super) const SOURCE_IPV4_PREFIX: Count = Count::new(8, 32, 32);

/// Who has IPv6 has at least a /64 (RFC 6177), and takes any address in it.
pub(super) const SOURCE_IPV6_PREFIX: Count = Count::new(32, 64, 128);
