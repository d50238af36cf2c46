//! Headers: what is written reads back, however it arrives, and what is damaged is refused.

use std::net::SocketAddr;

use evenkeel_proxy_protocol::{
    Endpoints, Error, Facts, Header, MAX_HEADER_BYTES, Parsed, Tls, TlsClient, Transport, UNIX_PATH_BYTES,
    parse, write_v1, write_v2,
};
use proptest::{collection::vec, option, prelude::*};

fn internet(source: &str, destination: &str) -> Endpoints {
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let (source, destination) = (address(source), address(destination));
    Endpoints::Internet { source, destination, transport: Transport::Stream }
}

fn endpoints_of(bytes: &[u8]) -> Result<Option<(Endpoints, usize)>, Error> {
    parse(bytes).map(|parsed| match parsed {
        Parsed::Partial => None,
        Parsed::Header(header, length) => Some((header.endpoints, length)),
    })
}

#[test]
fn lines_of_version_1_say_who_is_behind_the_connection() {
    let v4 = internet("192.0.2.7:40000", "198.51.100.1:443");
    let v6 = internet("[2001:db8::7]:0", "[::1]:65535");
    for (line, endpoints) in [
        ("PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n", v4),
        ("PROXY TCP6 2001:db8::7 ::1 0 65535\r\n", v6),
        ("PROXY UNKNOWN\r\n", Endpoints::Unknown),
        ("PROXY UNKNOWN ffff:: anything at all\r\n", Endpoints::Unknown),
    ] {
        let with_more = format!("{line}GET / HTTP/1.1\r\n");
        assert_eq!(endpoints_of(with_more.as_bytes()), Ok(Some((endpoints, line.len()))), "{line}");
    }
}

#[test]
fn lines_that_are_not_exactly_as_they_must_be_are_refused() {
    for line in [
        "PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\n",
        "PROXY  TCP4 192.0.2.7 198.51.100.1 40000 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 40000 443 \r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 040 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 +40 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
        "PROXY TCP4 192.0.2.007 198.51.100.1 40 443\r\n",
        "PROXY TCP4 ::1 ::1 40 443\r\n",
        "PROXY TCP6 192.0.2.7 198.51.100.1 40 443\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 40 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 40\r\n",
        "PROXY UDP4 192.0.2.7 198.51.100.1 40 443\r\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY \r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 40 443\r\r\n",
        "PROXY TCP4 \u{ff} 198.51.100.1 40 443\r\n",
    ] {
        assert_eq!(parse(line.as_bytes()), Err(Error::Line), "{line:?}");
    }
    let long = format!("PROXY UNKNOWN {}", "x".repeat(93));
    assert_eq!((long.len(), parse(long.as_bytes())), (107, Err(Error::LongLine)));
    assert_eq!(parse(&long.as_bytes()[..106]), Ok(Parsed::Partial));
}

#[test]
fn what_is_no_header_is_known_at_its_first_wrong_byte() {
    for bytes in
        [&b"GET / HTTP/1.1\r\n"[..], b"PROXX", b"proxy ", b"\r\n\r\n\0\r\nQUIX", b"\x16\x03\x01", b"\0"]
    {
        assert_eq!(parse(bytes), Err(Error::NotProxy), "{bytes:?}");
    }
    assert_eq!(parse(b""), Ok(Parsed::Partial));
}

/// A version 2 header by its parts after the signature.
fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("a short body").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, body].concat()
}

const ADDRESSES: &[u8] = &[192, 0, 2, 7, 198, 51, 100, 1, 0x9c, 0x40, 1, 0xbb];

#[test]
fn binary_headers_are_read_by_the_specification() {
    let v4 = internet("192.0.2.7:40000", "198.51.100.1:443");
    let unknown_field = [ADDRESSES, &[0xE0, 0, 2, 1, 2, 0x04, 0, 0]].concat();
    for (bytes, endpoints) in [
        (binary(0x21, 0x11, ADDRESSES), v4),
        (binary(0x21, 0x11, &unknown_field), v4),
        (binary(0x20, 0x11, ADDRESSES), Endpoints::Local),
        (binary(0x20, 0xFF, b"whatever"), Endpoints::Local),
        (binary(0x21, 0x00, b"whatever"), Endpoints::Unknown),
    ] {
        let length = bytes.len();
        assert_eq!(endpoints_of(&[&bytes[..], b"rest"].concat()), Ok(Some((endpoints, length))), "{bytes:?}");
    }
}

#[test]
fn binary_headers_that_are_not_exactly_as_they_must_be_are_refused() {
    let with = |field: &[u8]| binary(0x21, 0x11, &[ADDRESSES, field].concat());
    for (bytes, error) in [
        (binary(0x11, 0x11, ADDRESSES), Error::Command { got: 0x11 }),
        (binary(0x22, 0x11, ADDRESSES), Error::Command { got: 0x22 }),
        (binary(0x21, 0x13, ADDRESSES), Error::Family { got: 0x13 }),
        (binary(0x21, 0x01, ADDRESSES), Error::Family { got: 0x01 }),
        (binary(0x21, 0x41, ADDRESSES), Error::Family { got: 0x41 }),
        (binary(0x21, 0x10, ADDRESSES), Error::Family { got: 0x10 }),
        (binary(0x21, 0x21, ADDRESSES), Error::Cut),
        (binary(0x21, 0x11, &ADDRESSES[1..]), Error::Cut),
        (with(&[0x04]), Error::Cut),
        (with(&[0x04, 0, 1]), Error::Cut),
        (with(&[0x03, 0, 4, 0, 0, 0, 0]), Error::Checksum),
        (with(&[0x03, 0, 3, 0, 0, 0]), Error::Field { field: 0x03 }),
        (with(&[0x02, 0, 1, 0xFF]), Error::Field { field: 0x02 }),
        (with(&[0x02, 0, 1, b'a', 0x02, 0, 1, b'b']), Error::Field { field: 0x02 }),
        (with(&[0x20, 0, 4, 1, 0, 0, 0]), Error::Field { field: 0x20 }),
        (with(&[0x20, 0, 6, 1, 0, 0, 0, 0, 0x21]), Error::Cut),
        (with(&[&[0x05, 0, 129][..], &[7; 129]].concat()), Error::Field { field: 0x05 }),
    ] {
        assert_eq!(parse(&bytes), Err(error), "{bytes:?}");
    }
    let long = binary(0x20, 0, &[0; MAX_HEADER_BYTES - 15]);
    assert_eq!(parse(&long[..16]), Err(Error::Long { got: 4081 }));
}

#[test]
fn an_unverified_certificate_gives_no_name() {
    let field = [0x20, 0, 9, 0x03, 0, 0, 0, 1, 0x22, 0, 1, b'x'];
    let bytes = binary(0x21, 0x11, &[ADDRESSES, &field].concat());
    let Ok(Parsed::Header(header, _)) = parse(&bytes) else { panic!("{bytes:?}") };
    assert_eq!(header.facts.tls.map(|tls| tls.client), Some(TlsClient::Unverified));
}

fn endpoints() -> impl Strategy<Value = Endpoints> {
    let transport = || prop_oneof![Just(Transport::Stream), Just(Transport::Datagram)];
    let path = || vec(any::<u8>(), UNIX_PATH_BYTES).prop_map(|path| path.try_into().expect("so many bytes"));
    let pair = prop_oneof![
        any::<([u8; 4], u16, [u8; 4], u16)>()
            .prop_map(|(a, p, b, q)| (SocketAddr::from((a, p)), SocketAddr::from((b, q)))),
        any::<([u8; 16], u16, [u8; 16], u16)>()
            .prop_map(|(a, p, b, q)| (SocketAddr::from((a, p)), SocketAddr::from((b, q)))),
    ];
    prop_oneof![
        Just(Endpoints::Local),
        Just(Endpoints::Unknown),
        (pair, transport()).prop_map(|((source, destination), transport)| Endpoints::Internet {
            source,
            destination,
            transport
        }),
        (path(), path(), transport()).prop_map(|(source, destination, transport)| Endpoints::Unix {
            source,
            destination,
            transport
        }),
    ]
}

/// Facts that own their bytes.
type Owned = (Option<Vec<u8>>, Option<String>, Option<Vec<u8>>, Option<(Option<String>, Option<String>, u8)>);

fn owned() -> impl Strategy<Value = Owned> {
    let tls = (option::of("[ -~]{0,40}"), option::of("[ -~]{0,40}"), 0..3_u8);
    (
        option::of(vec(any::<u8>(), 0..20)),
        option::of("\\PC{0,60}"),
        option::of(vec(any::<u8>(), 0..129)),
        option::of(tls),
    )
}

fn facts(owned: &Owned) -> Facts<'_> {
    let tls = owned.3.as_ref().map(|(version, cipher, client)| Tls {
        version: version.as_deref(),
        cipher: cipher.as_deref(),
        client: match client {
            0 => TlsClient::Anonymous,
            1 => TlsClient::Unverified,
            _ => TlsClient::Verified { name: version.as_deref() },
        },
    });
    Facts { alpn: owned.0.as_deref(), authority: owned.1.as_deref(), unique_id: owned.2.as_deref(), tls }
}

proptest! {
    #[test]
    fn what_version_2_writes_reads_back_and_any_flipped_bit_is_noticed(
        endpoints in endpoints(), owned in owned(), rest in vec(any::<u8>(), 0..20), flip in any::<usize>(),
    ) {
        let bare = matches!(endpoints, Endpoints::Local | Endpoints::Unknown);
        let facts = if bare { Facts::NONE } else { facts(&owned) };
        let header = Header { endpoints, facts };
        let mut bytes = Vec::new();
        write_v2(&header, &mut bytes);
        let length = bytes.len();
        for end in 0..length {
            prop_assert_eq!(parse(&bytes[..end]), Ok(Parsed::Partial));
        }
        bytes.extend_from_slice(&rest);
        prop_assert_eq!(parse(&bytes), Ok(Parsed::Header(header, length)));
        if !bare {
            let at = flip % (length * 8);
            bytes[at / 8] ^= 1 << (at % 8);
            let read = parse(&bytes);
            // A flipped length may ask for more bytes, a flipped command make it LOCAL; it never lies about the client.
            let lies = matches!(read, Ok(Parsed::Header(read, _))
                if !matches!(read.endpoints, Endpoints::Local | Endpoints::Unknown)
                && read.endpoints != endpoints);
            prop_assert!(!lies, "{:?} of {:?}", read, header);
        }
    }

    #[test]
    fn what_version_1_writes_reads_back(endpoints in endpoints(), rest in vec(any::<u8>(), 0..20)) {
        let mut bytes = Vec::new();
        write_v1(&endpoints, &mut bytes);
        let length = bytes.len();
        prop_assert!(length <= 107);
        bytes.extend_from_slice(&rest);
        let told = match endpoints {
            Endpoints::Internet { transport: Transport::Stream, .. } => endpoints,
            _ => Endpoints::Unknown,
        };
        prop_assert_eq!(endpoints_of(&bytes), Ok(Some((told, length))));
        for end in 0..length {
            prop_assert_eq!(parse(&bytes[..end]), Ok(Parsed::Partial));
        }
    }

    #[test]
    fn no_bytes_make_it_panic_and_a_header_ends_within_its_bytes(
        mark in prop_oneof![Just(&b"PROXY "[..]), Just(&b"\r\n\r\n\0\r\nQUIT\n\x21"[..]), Just(&b""[..])],
        rest in vec(any::<u8>(), 0..300),
    ) {
        let bytes = [mark, &rest].concat();
        if let Ok(Parsed::Header(_, length)) = parse(&bytes) {
            prop_assert!(length <= bytes.len() && length <= MAX_HEADER_BYTES);
        }
    }
}
