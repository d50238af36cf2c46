//! Servers that DNS names: they come and go with its answers, and stay when there are none.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod support;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex},
    thread,
};

use hickory_resolver::proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, SRV},
    },
};
use support::{Plane, eventually, named};

/// What the DNS server says.
#[derive(Clone)]
enum Saying {
    /// Services at these ports of this machine, with priority.
    Services(Vec<(u16, u16)>),
    /// This address, whatever is asked.
    Address(Ipv4Addr),
    /// The name does not exist.
    NoName,
    /// The name exists and has no such records.
    Nothing,
    /// An error of its own.
    Failure,
    /// No word.
    Silence,
}

/// A DNS server on this machine.
struct Dns {
    address: SocketAddr,
    saying: Arc<Mutex<Saying>>,
}

impl Dns {
    fn start(saying: Saying) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let saying = Arc::new(Mutex::new(saying));
        let says = Arc::clone(&saying);
        thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let Ok(question) = Message::from_vec(&buffer[..length]) else { continue };
                let said = says.lock().unwrap().clone();
                if let Some(answer) = answer(&question, &said) {
                    let _ = socket.send_to(&answer.to_vec().unwrap(), from);
                }
            }
        });
        Self { address, saying }
    }

    fn say(&self, saying: Saying) {
        *self.saying.lock().unwrap() = saying;
    }
}

fn answer(question: &Message, saying: &Saying) -> Option<Message> {
    let mut answer = question.clone();
    answer.metadata.message_type = MessageType::Response;
    answer.additionals.clear();
    let query = question.queries.first()?;
    let record = |data| Record::from_rdata(query.name().clone(), 1, data);
    match (saying, query.query_type()) {
        (Saying::Services(services), RecordType::SRV) => {
            for (priority, port) in services {
                let target = Name::from_ascii(format!("s{port}.internal.")).unwrap();
                answer.add_answer(record(RData::SRV(SRV::new(*priority, 1, *port, target))));
            }
        }
        (Saying::Services(_), RecordType::A) => {
            answer.add_answer(record(RData::A(A(Ipv4Addr::LOCALHOST))));
        }
        (Saying::Address(address), RecordType::A) => {
            answer.add_answer(record(RData::A(A(*address))));
        }
        (Saying::Services(_) | Saying::Address(_) | Saying::Nothing, _) => {}
        (Saying::NoName, _) => answer.metadata.response_code = ResponseCode::NXDomain,
        (Saying::Failure, _) => answer.metadata.response_code = ResponseCode::ServFail,
        (Saying::Silence, _) => return None,
    }
    Some(answer)
}

/// A data plane whose pool asks `dns`.
fn plane(dns: &Dns, records: &str) -> Plane {
    let text = format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:0\"\nmode = \"http\"\n\
         pool = \"app\"\n[[pool]]\nname = \"app\"\npolicy = \"round-robin\"\nslow_start = \"0ms\"\n\
         [pool.health_check]\nkind = \"tcp\"\ninterval = \"10s\"\n\
         [pool.discovery]\nname = \"app.internal\"\n{records}\ninterval = \"1s\"\nleast_interval = \"100ms\"\n\
         resolvers = [\"{}\"]\nallow_loopback = true\n",
        dns.address
    );
    Plane::start(&text, 2)
}

/// Who answers; every answer must be good.
fn answering(plane: &Plane) -> BTreeSet<String> {
    let one = |_| {
        let answer = plane.client().get("/");
        assert_eq!(answer.status, 200);
        String::from_utf8(answer.body).unwrap()
    };
    (0..12).map(one).collect()
}

fn until_answering(plane: &Plane, who: &[&str]) {
    let expected: BTreeSet<String> = who.iter().map(|&name| name.to_owned()).collect();
    eventually(&format!("{who:?} answer"), || (answering(plane) == expected).then_some(()));
}

fn until_served(plane: &Plane) {
    eventually("DNS is asked", || (plane.client().get("/").status == 200).then_some(()));
}

fn stale_for_ms(plane: &Plane) -> Option<u64> {
    let (_, page) = plane.admin("/status");
    let status: serde_json::Value = serde_json::from_str(&page).unwrap();
    status["pools"][0]["discovery"]["stale_for_ms"].as_u64()
}

#[test]
fn servers_come_and_go_with_the_answers_and_no_request_fails() {
    let (a, b) = (named("a"), named("b"));
    let dns = Dns::start(Saying::Services(vec![(10, a.port())]));
    let plane = plane(&dns, "kind = \"srv\"");
    until_served(&plane);
    until_answering(&plane, &["a"]);
    dns.say(Saying::Services(vec![(10, a.port()), (10, b.port())]));
    until_answering(&plane, &["a", "b"]);
    dns.say(Saying::Services(vec![(20, a.port()), (10, b.port())]));
    until_answering(&plane, &["b"]);
    dns.say(Saying::Services(vec![(10, a.port())]));
    until_answering(&plane, &["a"]);
}

#[test]
fn a_dead_or_lying_resolver_takes_no_server_away_and_the_status_says_since_when() {
    let a = named("a");
    let good = Saying::Address(Ipv4Addr::LOCALHOST);
    let dns = Dns::start(good.clone());
    let plane = plane(&dns, &format!("port = {}", a.port()));
    until_served(&plane);
    for bad in [
        Saying::NoName,
        Saying::Nothing,
        Saying::Failure,
        Saying::Address(Ipv4Addr::UNSPECIFIED),
        Saying::Address(Ipv4Addr::new(224, 0, 0, 1)),
        Saying::Silence,
    ] {
        dns.say(bad);
        eventually("the status says that nothing good is heard", || stale_for_ms(&plane));
        assert_eq!(answering(&plane), BTreeSet::from(["a".to_owned()]));
        assert!(plane.admin("/metrics").1.contains("evenkeel_discovery_failures_total{pool=\"app\"}"));
        dns.say(good.clone());
        eventually("good answers end it", || stale_for_ms(&plane).is_none().then_some(()));
    }
}

#[test]
fn servers_of_the_file_serve_without_any_answer() {
    let dns = Dns::start(Saying::Silence);
    let own = named("own");
    let text = format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:0\"\nmode = \"http\"\n\
         pool = \"app\"\n[[pool]]\nname = \"app\"\n[[pool.server]]\nname = \"own\"\naddress = \"{own}\"\n\
         [pool.discovery]\nname = \"app.internal\"\nport = 80\nresolvers = [\"{}\"]\n",
        dns.address
    );
    let plane = Plane::start(&text, 1);
    assert_eq!(IpAddr::from(Ipv4Addr::LOCALHOST), own.ip());
    assert_eq!(plane.client().get("/").body, b"own");
}
