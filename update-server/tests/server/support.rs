//! The real server as a child process, and those who speak to it: operators, devices, a publisher.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use evenkeel_protocol::{
    CheckIn, ContentDigest, DeviceState, Enrol, Enrolled, ErrorBody, IssuedToken, Nonce, Orders, PublicKey,
    Report, RolloutDetail, RolloutId, Running, SignatureHeaders, StartRollout, Step, sign,
};
use evenkeel_trust::{Draft, Header, Object, RoleName, Root, TargetFile, Targets, Value, limits};
use evenkeel_units::{ByteCount, DeviceId, Digest, Slot, Version, WallTime};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};

/// Longest that anything in a test may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) fn now() -> WallTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    WallTime::from_unix_seconds(since.as_secs())
}

/// The server, killed when it goes out of scope.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
    pub(crate) folder: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Server {
    /// A server with a data directory of its own.
    pub(crate) fn start() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut server = Self::start_in(temporary.path());
        server._temporary = Some(temporary);
        server
    }

    pub(crate) fn start_in(folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_evenkeel-update-server"))
            .args(["--listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder)
            .env("EVENKEEL_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit("http://").next().unwrap().parse();
        let address = address.unwrap_or_else(|_| panic!("the server said {line:?}"));
        let token = std::fs::read_to_string(folder.join("operator-token")).unwrap().trim().to_string();
        Self { child, address, token, folder: folder.to_path_buf(), _temporary: None }
    }

    /// Ends the server without a warning (SIGKILL).
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn exit_status(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Kills the server and starts it again on the same data.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.restart_after_kill();
    }

    /// Starts a killed server again on the same data.
    pub(crate) fn restart_after_kill(&mut self) {
        let again = Self::start_in(&self.folder.clone());
        let temporary = self._temporary.take();
        *self = again;
        self._temporary = temporary;
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        fields: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let mut request =
            Request::builder().method(method).uri(path).header("host", self.address.to_string());
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        exchange(self.address, request.body(Full::new(body.into())).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    /// Waits until the overview shows `words`.
    pub(crate) async fn shows(&self, words: &str) {
        eventually(words, || async {
            let text = String::from_utf8(self.get("/").await.body.to_vec()).unwrap();
            text.contains(words).then_some(())
        })
        .await;
    }

    pub(crate) async fn operator(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Reply {
        let bearer = format!("Bearer {}", self.token);
        self.send(method, path, &[("authorization", &bearer)], body).await
    }

    pub(crate) async fn post(&self, path: &str, message: &impl Serialize) -> Reply {
        self.operator(Method::POST, path, serde_json::to_vec(message).unwrap()).await
    }

    pub(crate) async fn read<T: DeserializeOwned>(&self, path: &str) -> T {
        self.operator(Method::GET, path, Bytes::new()).await.json(StatusCode::OK)
    }

    pub(crate) async fn token_for(&self, valid_seconds: u64) -> String {
        let reply =
            self.post("/api/enrolment-tokens", &evenkeel_protocol::IssueToken { valid_seconds }).await;
        reply.json::<IssuedToken>(StatusCode::CREATED).token
    }

    /// Enrols a device and lets it check in once, running 1.0.0.
    pub(crate) async fn new_device(&self, seed: u8) -> Device {
        let device = self.enrolled_device(seed).await;
        let orders = device.check_in(self, &device.facts(), 0).await;
        assert_eq!(orders.assignment, None);
        device
    }

    pub(crate) async fn enrolled_device(&self, seed: u8) -> Device {
        let device = Device::new(seed);
        let reply = self.enrol(&device, &self.token_for(60).await).await;
        assert_eq!(reply.json::<Enrolled>(StatusCode::OK).device, device.id());
        device
    }

    pub(crate) async fn enrol(&self, device: &Device, token: &str) -> Reply {
        let request = Enrol {
            token: token.to_string(),
            public_key: PublicKey::from(&device.key),
            hardware: "x86_64".parse().unwrap(),
            name: Some(format!("box-{}", device.seed).parse().unwrap()),
        };
        self.send(Method::POST, "/v1/enrol", &[], serde_json::to_vec(&request).unwrap()).await
    }

    pub(crate) async fn start_rollout(&self, version: &str, waves: &[&str], failure_budget: u32) -> Reply {
        let request = StartRollout {
            release: version.parse().unwrap(),
            waves: waves.iter().map(|wave| wave.parse().unwrap()).collect(),
            failure_budget,
            silence_seconds: None,
        };
        self.post("/api/rollouts", &request).await
    }

    pub(crate) async fn rollout(&self, id: u32) -> RolloutDetail {
        self.read(&format!("/api/rollouts/{id}")).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    #[track_caller]
    pub(crate) fn json<T: DeserializeOwned>(&self, status: StatusCode) -> T {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The sentence of a refusal.
    #[track_caller]
    pub(crate) fn refusal(&self, status: StatusCode) -> String {
        self.json::<ErrorBody>(status).error
    }

    #[track_caller]
    pub(crate) fn done(&self, status: StatusCode) {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
    }

    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub(crate) async fn exchange(address: SocketAddr, request: Request<Full<Bytes>>) -> Reply {
    let reply = tokio::time::timeout(DEADLINE, try_exchange(address, request)).await;
    reply.expect("the server did not answer in time").expect("the server broke off the connection")
}

/// The answer, or nothing from a server that is not there any more.
pub(crate) async fn try_exchange(address: SocketAddr, request: Request<Full<Bytes>>) -> Option<Reply> {
    let stream = tokio::net::TcpStream::connect(address).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    let (parts, body) = sender.send_request(request).await.ok()?.into_parts();
    let body = body.collect().await.ok()?.to_bytes();
    Some(Reply { status: parts.status, fields: parts.headers, body })
}

/// A device as far as the server knows.
pub(crate) struct Device {
    pub(crate) key: SigningKey,
    seed: u8,
    nonce: AtomicU64,
    sequence: AtomicU64,
}

impl Device {
    pub(crate) fn new(seed: u8) -> Self {
        let key = SigningKey::from_bytes(&[seed; 32]);
        Self { key, seed, nonce: AtomicU64::new(0), sequence: AtomicU64::new(0) }
    }

    pub(crate) fn id(&self) -> DeviceId {
        PublicKey::from(&self.key).device()
    }

    pub(crate) fn facts(&self) -> CheckIn {
        CheckIn {
            running: Running { version: Version::new(1, 0, 0), slot: Slot::A, root_hash: None },
            state: DeviceState::Idle,
            known: None,
            refused: vec![],
            channel: "stable".parse().unwrap(),
            hardware: "x86_64".parse().unwrap(),
            agent_version: Version::new(0, 1, 0),
        }
    }

    /// What a device says that runs `version`.
    pub(crate) fn facts_on(&self, version: &str, known: u32) -> CheckIn {
        let running = Running { version: version.parse().unwrap(), slot: Slot::B, root_hash: None };
        CheckIn { running, known: Some(RolloutId(known)), ..self.facts() }
    }

    /// What a device says that can be told apart on the page from its first check-in.
    pub(crate) fn facts_held(&self) -> CheckIn {
        CheckIn { state: DeviceState::BackingOff { reason: "held open".into() }, ..self.facts() }
    }

    pub(crate) fn nonce(&self) -> Nonce {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.nonce.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        Nonce(nonce)
    }

    pub(crate) fn sign(&self, path: &str, body: &[u8], created: WallTime) -> SignatureHeaders {
        sign(&self.key, "POST", path, body, created, self.nonce())
    }

    pub(crate) async fn send(
        &self,
        server: &Server,
        path: &str,
        message: &impl Serialize,
        wait: u64,
    ) -> Reply {
        let body = serde_json::to_vec(message).unwrap();
        let signed = self.sign(path, &body, now());
        send_signed(server, path, &signed, &body, wait).await
    }

    pub(crate) async fn check_in(&self, server: &Server, facts: &CheckIn, wait: u64) -> Orders {
        self.send(server, "/v1/check-in", facts, wait).await.json(StatusCode::OK)
    }

    pub(crate) fn next_report(&self, rollout: u32, version: &str, step: Step) -> Report {
        Report {
            sequence: self.sequence.fetch_add(1, Ordering::Relaxed),
            at: now(),
            rollout: Some(RolloutId(rollout)),
            release: version.parse().unwrap(),
            step,
        }
    }

    /// Reports to a server that may end at any moment; gives the number of a report that was acknowledged.
    pub(crate) async fn try_report(&self, address: SocketAddr) -> Option<u64> {
        let report = self.next_report(1, "1.1.0", Step::Verified);
        let body = serde_json::to_vec(&report).unwrap();
        let signed = self.sign("/v1/report", &body, now());
        let request = Request::post("/v1/report")
            .header("host", address.to_string())
            .header("content-digest", signed.content_digest)
            .header("signature-input", signed.signature_input)
            .header("signature", signed.signature);
        let reply = try_exchange(address, request.body(Full::new(body.into())).unwrap()).await?;
        (reply.status == StatusCode::NO_CONTENT).then_some(report.sequence)
    }

    pub(crate) async fn report(&self, server: &Server, rollout: u32, version: &str, step: Step) {
        let report = self.next_report(rollout, version, step);
        self.send(server, "/v1/report", &report, 0).await.done(StatusCode::NO_CONTENT);
    }
}

pub(crate) async fn send_signed(
    server: &Server,
    path: &str,
    signed: &SignatureHeaders,
    body: &[u8],
    wait: u64,
) -> Reply {
    let prefer = format!("wait={wait}");
    let fields = [
        ("content-digest", signed.content_digest.as_str()),
        ("signature-input", signed.signature_input.as_str()),
        ("signature", signed.signature.as_str()),
        ("prefer", prefer.as_str()),
    ];
    server.send(Method::POST, path, &fields, body.to_vec()).await
}

/// An operator who signs and publishes releases.
pub(crate) struct Publisher {
    pub(crate) root_key: evenkeel_trust::SigningKey,
    pub(crate) targets_key: evenkeel_trust::SigningKey,
    pub(crate) version: u64,
    pub(crate) targets: Vec<(String, Vec<u8>, Value)>,
}

impl Publisher {
    pub(crate) fn new() -> Self {
        let key = |seed: u8| evenkeel_trust::SigningKey::from_seed(&[seed; 32]);
        Self { root_key: key(101), targets_key: key(102), version: 0, targets: vec![] }
    }

    /// Root metadata of this version that names the server's online keys.
    pub(crate) async fn root(&self, server: &Server, version: u64) -> Vec<u8> {
        let keys = server.operator(Method::GET, "/api/online-keys", "").await;
        let keys = Value::parse(&keys.body).unwrap();
        let online =
            |name: &str| evenkeel_trust::PublicKey::from_value(&keys.as_object().unwrap()[name]).unwrap();
        let root = Root::new(Header { version, expires: now() + limits::ROOT_LIFETIME }, |role| {
            let key = match role {
                RoleName::Root => self.root_key.public().clone(),
                RoleName::Targets => self.targets_key.public().clone(),
                RoleName::Snapshot => online("snapshot"),
                RoleName::Timestamp => online("timestamp"),
            };
            (vec![key], 1)
        });
        let mut draft = Draft::new(&root).unwrap();
        draft.sign(&self.root_key);
        draft.to_bytes()
    }

    /// A bundle of these bytes as release `version`, not yet in the targets metadata.
    pub(crate) fn add(&mut self, version: &str, bytes: &[u8]) -> String {
        let text = |text: &str| Value::Text(text.to_string());
        let release = Object::from([
            ("version".to_string(), text(version)),
            ("channels".to_string(), Value::List(vec![text("stable")])),
            ("hardware".to_string(), Value::List(vec![text("x86_64")])),
        ]);
        let custom = Value::Object(Object::from([("evenkeel".to_string(), Value::Object(release))]));
        let name = format!("evenkeel-{version}.bundle");
        self.targets.push((name.clone(), bytes.to_vec(), custom));
        name
    }

    /// Targets metadata of the next version with everything added so far.
    pub(crate) fn sign_targets(&mut self) -> Vec<u8> {
        self.version += 1;
        let target = |(name, bytes, custom): &(String, Vec<u8>, Value)| {
            let (length, sha256) = (ByteCount(bytes.len() as u64), Digest::of(bytes));
            (name.parse().unwrap(), TargetFile { length, sha256, custom: Some(custom.clone()) })
        };
        let header = Header { version: self.version, expires: now() + limits::TARGETS_LIFETIME };
        let targets =
            Targets { header, targets: self.targets.iter().map(target).collect(), delegations: None };
        let mut draft = Draft::new(&targets).unwrap();
        draft.sign(&self.targets_key);
        draft.to_bytes()
    }

    pub(crate) async fn upload(&self, server: &Server, name: &str, bytes: &[u8]) -> Reply {
        let (bearer, digest) = (format!("Bearer {}", server.token), ContentDigest::of(bytes).to_string());
        let fields = [("authorization", bearer.as_str()), ("content-digest", digest.as_str())];
        server.send(Method::PUT, &format!("/api/targets/{name}"), &fields, bytes.to_vec()).await
    }

    pub(crate) async fn publish_root(&self, server: &Server) {
        let root = self.root(server, 1).await;
        server.operator(Method::PUT, "/api/repository/root", root).await.done(StatusCode::NO_CONTENT);
    }

    /// Uploads a bundle and publishes it as release `version`.
    pub(crate) async fn publish(&mut self, server: &Server, version: &str, bytes: &[u8]) {
        let name = self.add(version, bytes);
        self.upload(server, &name, bytes).await.done(StatusCode::CREATED);
        let targets = self.sign_targets();
        server.operator(Method::PUT, "/api/repository/targets", targets).await.done(StatusCode::NO_CONTENT);
    }
}

/// A server with root metadata and these releases.
pub(crate) async fn server_with(releases: &[&str]) -> (Server, Publisher) {
    let (server, mut publisher) = (Server::start(), Publisher::new());
    publisher.publish_root(&server).await;
    for version in releases {
        publisher.publish(&server, version, format!("bundle of {version}").as_bytes()).await;
    }
    (server, publisher)
}

/// Waits until `condition` gives something.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut condition: impl FnMut() -> F,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
