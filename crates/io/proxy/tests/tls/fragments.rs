//! A client that cuts a message of TLS itself, after the handshake, where no library does.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::{ClientConnection, ConnectionTrafficSecrets, pki_types::ServerName};

use crate::{
    certificates::Authority,
    clients::{configuration, metric},
    peers::config,
    support::{PATIENCE, Plane, eventually, server},
};

/// One direction's key and the number of its next record.
struct Keys {
    key: LessSafeKey,
    iv: [u8; 12],
    number: u64,
}

impl Keys {
    fn new((number, secrets): (u64, ConnectionTrafficSecrets)) -> Self {
        let (algorithm, key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            _ => panic!("the client offers AES-GCM first"),
        };
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key.as_ref()).unwrap());
        Self { key, iv: iv.as_ref().try_into().unwrap(), number }
    }

    fn nonce(&mut self) -> Nonce {
        let mut nonce = self.iv;
        self.number.to_be_bytes().iter().zip(&mut nonce[4..]).for_each(|(number, byte)| *byte ^= number);
        self.number += 1;
        Nonce::assume_unique_for_key(nonce)
    }

    /// A record of this kind (RFC 8446 §5.2).
    fn seal(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut inner = [content, &[kind]].concat();
        let length = u16::try_from(inner.len() + 16).unwrap().to_be_bytes();
        let header = [23, 3, 3, length[0], length[1]];
        let nonce = self.nonce();
        self.key.seal_in_place_append_tag(nonce, Aad::from(&header), &mut inner).unwrap();
        [&header[..], &inner].concat()
    }

    /// The next record: its kind and content.
    fn open(&mut self, stream: &mut TcpStream) -> (u8, Vec<u8>) {
        let mut header = [0; 5];
        stream.read_exact(&mut header).unwrap();
        let mut inner = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
        stream.read_exact(&mut inner).unwrap();
        let nonce = self.nonce();
        let length = self.key.open_in_place(nonce, Aad::from(&header), &mut inner).unwrap().len();
        inner.truncate(length);
        let kind = inner.pop().unwrap();
        (kind, inner)
    }
}

#[test]
fn half_a_message_of_tls_itself_hinders_nobody_from_writing() {
    const HANDSHAKE: u8 = 22;
    const DATA: u8 = 23;
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let may_write = Arc::new(AtomicBool::new(false));
    let server = server({
        let may_write = Arc::clone(&may_write);
        move |mut peer| {
            eventually("it may write", || may_write.load(Relaxed).then_some(()));
            // Health checks have gone by then.
            let _ = peer.stream.write_all(b"written in the meantime");
            let _ = peer.stream.read_to_end(&mut Vec::new());
        }
    });
    let tls = authority.issue(&["site"]).write(folder.path(), "site");
    let plane = Plane::start(&configuration("tcp", &tls, &[server], ""), 1);
    let mut config = (*config(&authority)).clone();
    config.enable_secret_extraction = true;
    let mut connection =
        ClientConnection::new(Arc::new(config), ServerName::try_from("site").unwrap()).unwrap();
    let mut stream = TcpStream::connect(plane.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).unwrap();
    }
    let secrets = connection.dangerous_extract_secrets().unwrap();
    let (mut tx, mut rx) = (Keys::new(secrets.tx), Keys::new(secrets.rx));
    // A new key that wants none back is 24, three bytes of length, and 0 (RFC 8446 §4.6.3).
    stream.write_all(&tx.seal(HANDSHAKE, &[24, 0])).unwrap();
    may_write.store(true, Relaxed);
    let (kind, content) = loop {
        // Tickets may come first.
        let record = rx.open(&mut stream);
        if record.0 != HANDSHAKE {
            break record;
        }
    };
    assert_eq!((kind, content.as_slice()), (DATA, &b"written in the meantime"[..]));
    // Half a message, and then something else, is against the rules (RFC 8446 §5.1).
    stream.write_all(&tx.seal(DATA, b"and on")).unwrap();
    let cut = stream.read_to_end(&mut Vec::new());
    assert!(cut.is_err(), "what broke the rules did not end in an orderly way: {cut:?}");
    eventually("the connection is closed", || {
        (metric(&plane, "evenkeel_client_connections{", &[]) == 0.0).then_some(())
    });
}
