//! An update server and a data plane for one box, on one port, which do what a test tells them.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use evenkeel_protocol::{
    Assignment, CheckIn, Claim, Enrol, Enrolled, Orders, PublicKey, Report, RolloutId, SignedRequest, Step,
};
use evenkeel_release::target_name;
use evenkeel_sim::{
    release::{Recipe, Sample},
    repository::Repository,
};
use evenkeel_units::{Version, WallTime};

/// Longest that any test waits for something that has to happen.
const DEADLINE: Duration = Duration::from_secs(60);

/// What the server has, does, and has seen.
pub(crate) struct State {
    pub(crate) repository: Repository,
    pub(crate) bundles: BTreeMap<String, Vec<u8>>,
    pub(crate) assignment: Option<Assignment>,
    pub(crate) reports: Vec<Report>,
    pub(crate) check_ins: Vec<CheckIn>,
    key: Option<PublicKey>,
    /// Status of answers through the data plane.
    pub(crate) site_status: u16,
    /// Bytes of bundles that are sent before the server vanishes; none when it stays.
    pub(crate) vanish_after: Option<usize>,
    /// Bytes of bundles that are sent before the server stops in the middle and says no more.
    pub(crate) stall_after: Option<usize>,
    /// Connections are closed without an answer.
    pub(crate) vanished: bool,
    /// Every bundle ends after this many bytes, whatever was asked for.
    pub(crate) truncate_at: Option<usize>,
    /// Bytes of bundles sent so far.
    pub(crate) sent: usize,
}

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            repository: Repository::new(WallTime::from_unix_seconds(u64::MAX)),
            bundles: BTreeMap::new(),
            assignment: None,
            reports: Vec::new(),
            check_ins: Vec::new(),
            key: None,
            site_status: 200,
            vanish_after: None,
            stall_after: None,
            vanished: false,
            truncate_at: None,
            sent: 0,
        };
        let server = Self { address, state: Arc::new((Mutex::new(state), Condvar::new())) };
        let serving = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = serving.clone();
                thread::spawn(move || server.converse(&stream));
            }
        });
        server
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.0.lock().unwrap()
    }

    /// Makes a change that held requests see at once.
    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.state.1.notify_all();
    }

    /// Waits until the state is as it has to become.
    pub(crate) fn wait(&self, what: &str, is: impl Fn(&State) -> bool) {
        let end = Instant::now() + DEADLINE;
        let mut state = self.state();
        while !is(&state) {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what} did not happen; reports: {:#?}", state.reports);
            state = self.state.1.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Publishes a release and lists it.
    pub(crate) fn publish(&self, recipe: &Recipe) -> Sample {
        let sample = Sample::make(recipe);
        self.change(|state| {
            let (name, file) = sample.target();
            state.bundles.insert(format!("{}.{name}", file.sha256), sample.bundle.clone());
            state.repository.targets.insert(name, file);
            state.repository.publish();
        });
        sample
    }

    /// Orders a release, as part of rollout `rollout`.
    pub(crate) fn order(&self, rollout: u32, release: Version) {
        let target = target_name(release).to_string();
        let assignment = Assignment { rollout: RolloutId(rollout), release, target };
        self.change(|state| state.assignment = Some(assignment));
    }

    /// Waits for a report whose step is as it has to be.
    pub(crate) fn wait_report(&self, what: &str, is: impl Fn(&Step) -> bool) {
        self.wait(what, |state| state.reports.iter().any(|report| is(&report.step)));
    }

    fn converse(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_request(&mut reader) {
            if self.state().vanished {
                return;
            }
            if self.answer(&request, stream).is_none() {
                return;
            }
        }
    }

    fn answer(&self, request: &Request, mut stream: &TcpStream) -> Option<()> {
        let path = request.path.as_str();
        if let Some(name) = path.strip_prefix("/v1/targets/") {
            return self.send_bundle(name, request, stream);
        }
        let (status, body) = if let Some(name) = path.strip_prefix("/v1/metadata/") {
            match self.state().repository.files.get(name) {
                Some(bytes) => (200, bytes.clone()),
                None => (404, Vec::new()),
            }
        } else {
            match path {
                "/v1/enrol" => (200, self.enrol(&request.body)),
                "/v1/check-in" => (200, self.check_in(request)),
                "/v1/report" => {
                    self.check_signature(request);
                    let report: Report = serde_json::from_slice(&request.body).unwrap();
                    self.change(|state| {
                        if state.reports.iter().all(|known| known.sequence < report.sequence) {
                            state.reports.push(report);
                        }
                    });
                    (204, Vec::new())
                }
                "/live" | "/ready" => (200, Vec::new()),
                "/status" => (200, STATUS.into()),
                "/site" => (self.state().site_status, b"hello".to_vec()),
                _ => (404, Vec::new()),
            }
        };
        let head = format!("HTTP/1.1 {status} -\r\ncontent-length: {}\r\n\r\n", body.len());
        let head = if status == 204 { "HTTP/1.1 204 -\r\n\r\n".into() } else { head };
        stream.write_all(&[head.as_bytes(), &body].concat()).ok()
    }

    fn enrol(&self, body: &[u8]) -> Vec<u8> {
        let enrol: Enrol = serde_json::from_slice(body).unwrap();
        assert_eq!(enrol.token, "the-token");
        self.change(|state| state.key = Some(enrol.public_key));
        serde_json::to_vec(&Enrolled { device: enrol.public_key.device() }).unwrap()
    }

    /// Holds the request until the orders are others than the box knows of.
    fn check_in(&self, request: &Request) -> Vec<u8> {
        self.check_signature(request);
        let check_in: CheckIn = serde_json::from_slice(&request.body).unwrap();
        let known = check_in.known;
        self.change(|state| state.check_ins.push(check_in));
        let end = Instant::now() + Duration::from_secs(2);
        let mut state = self.state();
        while state.assignment.as_ref().map(|assignment| assignment.rollout) == known && Instant::now() < end
        {
            state = self.state.1.wait_timeout(state, end - Instant::now()).unwrap().0;
        }
        let orders = Orders { assignment: state.assignment.clone(), retry_after_seconds: 0 };
        serde_json::to_vec(&orders).unwrap()
    }

    fn check_signature(&self, request: &Request) {
        let header = |name: &str| request.headers.get(name).expect("a signed request").as_str();
        let signed = SignedRequest {
            method: "POST",
            path: &request.path,
            content_digest: header("content-digest"),
            signature_input: header("signature-input"),
            signature: header("signature"),
        };
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let key = self.state().key.expect("an enrolled device");
        let claim = Claim::read(signed).unwrap();
        claim.verify(&key, &request.body, WallTime::from_unix_seconds(now)).unwrap();
    }

    /// Sends a range of a bundle, and vanishes on the way if it has to.
    fn send_bundle(&self, name: &str, request: &Request, mut stream: &TcpStream) -> Option<()> {
        let range = request.headers.get("range").and_then(|range| range.strip_prefix("bytes="));
        let (from, last) = range.and_then(|range| range.split_once('-')).expect("a range");
        let (from, last): (usize, usize) = (from.parse().unwrap(), last.parse().unwrap());
        let (bundle, truncate_at) = {
            let state = self.state();
            (state.bundles.get(name).expect("a published bundle").clone(), state.truncate_at)
        };
        let total = bundle.len();
        let head = format!(
            "HTTP/1.1 206 -\r\ncontent-length: {}\r\ncontent-range: bytes {from}-{last}/{total}\r\n\r\n",
            last + 1 - from
        );
        stream.write_all(head.as_bytes()).ok()?;
        for (at, piece) in bundle[from..=last].chunks(1000).enumerate() {
            if truncate_at.is_some_and(|end| from + at * 1000 >= end) {
                return None;
            }
            {
                let mut state = self.state();
                if state.vanish_after.is_some_and(|end| state.sent >= end) {
                    state.vanished = true;
                    state.vanish_after = None;
                }
                if state.vanished {
                    self.state.1.notify_all();
                    return None;
                }
                while state.stall_after.is_some_and(|end| state.sent >= end) {
                    state = self.state.1.wait(state).unwrap();
                }
                state.sent += piece.len();
            }
            stream.write_all(piece).ok()?;
        }
        Some(())
    }
}

/// The data plane's status: two servers, both usable, and enough requests to compare with.
const STATUS: &str = r#"{"pools": [{"name": "app", "servers": [{"state": "usable"}, {"state": "usable"}]}],
 "totals": {"requests": 1000, "server_errors": 1, "median_us": 900}}"#;

struct Request {
    path: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

fn read_request(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { path, headers, body })
}
