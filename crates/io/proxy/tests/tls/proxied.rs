//! What a version 2 PROXY header tells servers of a client's TLS, byte by byte by the specification (§2.2).

use std::{io::Read as _, net::SocketAddr, sync::mpsc};

use rcgen::DnType;
use rustls::ProtocolVersion;

use crate::{
    certificates::Authority,
    clients::configuration,
    peers::{client_config, config, connect},
    support::{Client, Peer, Plane, field, ok, server},
};

/// A server that takes a header off each connection, hands its bytes over, and answers with the X-Request-Id that it got.
fn unwrapping() -> (SocketAddr, mpsc::Receiver<Vec<u8>>) {
    let (report, told) = mpsc::channel();
    let address = server(move |mut peer| {
        let header = header(&mut peer);
        // Health checks speak for themselves.
        if header[12] == 0x21 {
            report.send(header).unwrap();
        }
        while let Some(head) = peer.head() {
            let id = field(&head, "x-request-id").unwrap_or("-").to_owned();
            let _ = std::io::Write::write_all(&mut peer.stream, &ok(id.as_bytes()));
        }
    });
    (address, told)
}

/// The header that a connection begins with, by its own length.
fn header(peer: &mut Peer) -> Vec<u8> {
    let mut header = peer.take(16);
    let length = u16::from_be_bytes([header[14], header[15]]);
    header.extend(peer.take(length.into()));
    header
}

/// Type and value of each field behind the addresses of IPv4.
fn fields(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let (mut rest, mut fields) = (bytes, Vec::new());
    while let [kind, high, low, behind @ ..] = rest {
        let (value, behind) = behind.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        fields.push((*kind, value.to_vec()));
        rest = behind;
    }
    fields
}

/// CRC-32C, bit by bit (RFC 3720 appendix B.4).
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| (sum >> 1) ^ (0x82F6_3B78 * (sum & 1)))
    })
}

fn with_pool(text: &str, lines: &str) -> String {
    text.replace("policy = \"round-robin\"\n", &format!("policy = \"round-robin\"\n{lines}\n"))
}

#[test]
fn name_protocol_certificate_and_request_are_told_as_the_specification_writes_them() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let tls = authority.issue(&["site"]).write(folder.path(), "site");
    let ca = authority.write(folder.path(), "staff.pem");
    let tls = format!("{tls}client_ca = \"{}\"\nclient = \"optional\"\n", ca.display());
    let (address, told) = unwrapping();
    let text = configuration("http", &tls, &[address], "");
    let text = with_pool(&text, "proxy_protocol = \"v2\"").replacen(
        "[[pool]]",
        "[listener.forward]\nfields = [\"x-request-id\"]\n[[pool]]",
        1,
    );
    let plane = Plane::start(&text, 1);
    let ann = authority.issue_with(&["ann.example"], |params| {
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::CommonName, "Ann");
    });
    let mut shown = (*client_config(&authority, Some(&ann), ProtocolVersion::TLSv1_3)).clone();
    shown.alpn_protocols = vec![b"http/1.1".to_vec()];
    let id = connect(plane.address(), &shown.into(), "site").get("/").body;
    let header = told.recv().unwrap();
    assert_eq!(&header[..14], b"\r\n\r\n\0\r\nQUIT\n\x21\x11");
    let fields = fields(&header[28..]);
    let kinds: Vec<u8> = fields.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [0x01, 0x02, 0x05, 0x20, 0x03]);
    assert_eq!((&fields[0].1[..], &fields[1].1[..]), (&b"http/1.1"[..], &b"site"[..]));
    assert_eq!(fields[2].1, id, "the request's name is the connection's");
    // Spoke TLS and showed a certificate on this connection, which was verified: 0.
    assert_eq!(fields[3].1[..5], [0x03, 0, 0, 0, 0]);
    let inside = self::fields(&fields[3].1[5..]);
    assert_eq!((inside[0].0, &inside[0].1[..]), (0x21, &b"TLSv1.3"[..]));
    assert_eq!(inside[1].0, 0x23);
    assert!(inside[1].1.starts_with(b"TLS"), "{inside:?}");
    assert_eq!((inside[2].0, &inside[2].1[..]), (0x22, &b"Ann"[..]));
    let mut zeroed = header.clone();
    let end = zeroed.len();
    zeroed[end - 4..].fill(0);
    assert_eq!(fields[4].1, crc32c(&zeroed).to_be_bytes());

    // Without a certificate and another version: 1 for "none shown", and no name.
    let plain = client_config(&authority, None, ProtocolVersion::TLSv1_2);
    connect(plane.address(), &plain, "site").get("/");
    let fields = self::fields(&told.recv().unwrap()[28..]);
    let tls = fields.iter().find(|(kind, _)| *kind == 0x20).unwrap();
    assert_eq!(tls.1[..5], [0x01, 0, 0, 0, 1]);
    assert!(self::fields(&tls.1[5..]).iter().all(|(kind, _)| *kind != 0x22));
}

#[test]
fn only_what_the_pool_asks_for_is_told() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let tls = authority.issue(&["site"]).write(folder.path(), "site");
    let (address, told) = unwrapping();
    for (wanted, kinds) in
        [("", vec![0x03]), ("\"authority\"", vec![0x02, 0x03]), ("\"tls\"", vec![0x20, 0x03])]
    {
        let lines = format!("proxy_protocol = \"v2\"\nproxy_fields = [{wanted}]");
        let plane = Plane::start(&with_pool(&configuration("http", &tls, &[address], ""), &lines), 1);
        connect(plane.address(), &config(&authority), "site").get("/");
        let found: Vec<u8> = fields(&told.recv().unwrap()[28..]).iter().map(|(kind, _)| *kind).collect();
        assert_eq!(found, kinds, "{wanted}");
    }
}

#[test]
fn the_name_is_told_of_tls_that_is_passed_on_too() {
    let (address, told) = unwrapping();
    let text = crate::support::config("tcp", &[address], "", "");
    let text = with_pool(&text, "proxy_protocol = \"v2\"").replacen(
        "[[pool]]",
        "[[listener.sni]]\nnames = [\"site.example\"]\npool = \"app\"\n[[pool]]",
        1,
    );
    let plane = Plane::start(&text, 1);
    let mut hello = Vec::new();
    let name = "site.example".to_owned().try_into().unwrap();
    let mut connection = rustls::ClientConnection::new(config(&Authority::new()), name).unwrap();
    connection.write_tls(&mut hello).unwrap();
    let mut client = Client::connect(plane.address());
    client.send(&hello);
    assert_eq!(fields(&told.recv().unwrap()[28..])[0], (0x02, b"site.example".to_vec()));
    drop(client.0.stream.read(&mut [0; 0]));
}
