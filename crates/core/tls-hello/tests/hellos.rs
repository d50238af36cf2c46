//! What is found in client hellos, however they arrive and whatever is wrong with them.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

use evenkeel_tls_hello::{Hello, HelloError, Look, MAX_BYTES, MAX_RECORDS, look};
use proptest::prelude::*;

fn prefixed(length_bytes: usize, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    [&length[length.len() - length_bytes..], content].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &prefixed(2, content)].concat()
}

fn name(name: &str) -> Vec<u8> {
    extension(0, &prefixed(2, &[&[0][..], &prefixed(2, name.as_bytes())].concat()))
}

/// A handshake message with these extensions.
fn hello(extensions: &[u8]) -> Vec<u8> {
    let body = [
        &[3, 3][..],
        &[7; 32],
        &prefixed(1, &[9; 32]),
        &prefixed(2, &[0x13, 0x01, 0x13, 0x02]),
        &prefixed(1, &[0]),
        &prefixed(2, extensions),
    ]
    .concat();
    [&[1][..], &prefixed(3, &body)].concat()
}

/// A message in records of at most `most` bytes.
fn records(message: &[u8], most: usize) -> Vec<u8> {
    message.chunks(most).flat_map(|part| [&[22, 3, 1][..], &prefixed(2, part)].concat()).collect()
}

fn found(server_name: Option<&str>) -> Result<Look, HelloError> {
    Ok(Look::Hello(Hello { server_name: server_name.map(str::to_owned) }))
}

#[test]
fn the_name_is_found_among_other_extensions_and_its_absence_is_too() {
    let others = [extension(43, &[2, 3, 4]), extension(0x0a0a, &[])].concat();
    let ech = extension(0xfe0d, &[0; 200]);
    for (extensions, server_name) in [
        ([others.clone(), name("Site.Example")].concat(), Some("site.example")),
        ([name("outer.example"), ech].concat(), Some("outer.example")),
        (others, None),
        (Vec::new(), None),
    ] {
        assert_eq!(look(&records(&hello(&extensions), 16_384)), found(server_name));
    }
    // TLS 1.2 without a list of extensions at all.
    let bare = hello(&[]);
    let bare = [&[1, 0, 0, u8::try_from(bare.len() - 6).unwrap()][..], &bare[4..bare.len() - 2]].concat();
    assert_eq!(look(&records(&bare, 16_384)), found(None));
}

#[test]
fn what_cannot_become_a_hello_is_refused_at_once() {
    let good = hello(&name("a"));
    let changed = |at: usize, byte: u8| {
        let mut message = good.clone();
        message[at] = byte;
        records(&message, 16_384)
    };
    let trailing = [&good[..3], &[good[3] + 1], &good[4..], &[0]].concat();
    for (bytes, error) in [
        (b"GET / HTTP/1.1\r\n".to_vec(), HelloError::NotTls),
        (vec![22, 2], HelloError::NotTls),
        (vec![22, 3, 1, 0, 0], HelloError::NotTls),
        (vec![22, 3, 1, 0xff, 0xff], HelloError::NotTls),
        (changed(0, 2), HelloError::NotHello),
        (changed(1, 1), HelloError::TooLong),
        (changed(38, 255), HelloError::Malformed),
        (records(&trailing, 16_384), HelloError::Malformed),
        (records(&hello(&[name("a"), name("b")].concat()), 16_384), HelloError::Malformed),
        (records(&hello(&extension(0, &[])), 16_384), HelloError::Malformed),
        (records(&hello(&extension(0, &prefixed(2, &[1, 0, 1, b'a']))), 16_384), HelloError::Malformed),
        (records(&hello(&name("a b")), 16_384), HelloError::Name),
        (records(&hello(&name("")), 16_384), HelloError::Name),
        (records(&hello(&[0; 400]), 1), HelloError::TooLong),
        (records(&hello(&extension(1, &vec![0; MAX_BYTES])), 16_384), HelloError::TooLong),
    ] {
        assert_eq!(look(&bytes), Err(error), "{:?}…", &bytes[..bytes.len().min(20)]);
    }
    const { assert!(MAX_RECORDS < 400) };
}

proptest! {
    #[test]
    fn however_a_hello_is_cut_into_records_and_pieces_the_name_is_the_same(
        most in 4_usize..400,
        padding in 0_usize..1500,
        host in "[a-z]{1,20}\\.[a-z]{2,10}",
    ) {
        let message = hello(&[extension(21, &vec![0; padding]), name(&host)].concat());
        prop_assume!(message.len().div_ceil(most) <= MAX_RECORDS);
        let records = records(&message, most);
        let bytes = [&records[..], b"what follows"].concat();
        for cut in 0..bytes.len() {
            let expected = if cut < records.len() { Ok(Look::Partial) } else { found(Some(&host)) };
            prop_assert_eq!(look(&bytes[..cut]), expected, "{} of {} bytes", cut, records.len());
        }
    }

    #[test]
    fn no_bytes_make_it_panic_and_what_is_refused_stays_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        at in any::<prop::sample::Index>(),
        byte: u8,
        more in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let mut nearly = records(&hello(&name("site.example")), 60);
        let place = at.index(nearly.len());
        nearly[place] = byte;
        for start in [bytes, nearly] {
            if let Err(error) = look(&start) {
                prop_assert_eq!(look(&[&start[..], &more].concat()), Err(error));
            }
        }
    }
}
