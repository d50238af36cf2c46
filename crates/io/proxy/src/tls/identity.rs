//! Who a client is by its certificate, as servers are told.
//!
//! Owns: the three fields and their form. Leaves to others: verifying the certificate (rustls). Invariants: where any
//! listener asks for certificates, these fields reach a server only with what the data plane wrote; nothing in a
//! certificate can end a line or be taken for another part of a name.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use evenkeel_http1::Edits;
use rustls::pki_types::CertificateDer;
use x509_parser::{
    objects::{oid_registry, oid2abbrev},
    prelude::FromDer as _,
    x509::X509Name,
};

/// The certificate in DER (RFC 9440 §2.2), its subject (RFC 4514), and whether it was verified: `SUCCESS` or `NONE`.
const FIELDS: [&[u8]; 3] = [b"client-cert", b"x-client-subject", b"x-client-verify"];

/// What is done with the fields of a client's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CertificateFields {
    /// They mean nothing here, and pass like any other.
    Passed,
    /// They are taken out, and put in where the client has shown a certificate.
    Ours,
}

impl CertificateFields {
    /// `edits` and what these fields need besides; `names` and `lines` are room for both.
    pub(crate) fn edits<'a>(
        self,
        edits: Option<Edits<'a>>,
        told: &'a [u8],
        (names, lines): (&'a mut Vec<&'a [u8]>, &'a mut Vec<u8>),
    ) -> Option<Edits<'a>> {
        match self {
            Self::Passed => edits,
            Self::Ours => {
                let edits = edits.unwrap_or_default();
                names.extend_from_slice(edits.remove);
                names.extend(FIELDS);
                lines.extend_from_slice(edits.add);
                lines.extend_from_slice(told);
                Some(Edits { remove: names, add: lines, ..edits })
            }
        }
    }
}

/// The lines that tell a server of the certificate that a client has shown, or that it has shown none.
pub(crate) fn lines(shown: Option<&CertificateDer<'_>>) -> Box<[u8]> {
    let Some(certificate) = shown else { return (*b"X-Client-Verify: NONE\r\n").into() };
    let parsed = x509_parser::certificate::X509Certificate::from_der(certificate);
    let subject = parsed.map(|(_, parsed)| subject(parsed.subject())).unwrap_or_default();
    let encoded = STANDARD.encode(certificate);
    let text =
        format!("Client-Cert: :{encoded}:\r\nX-Client-Subject: {subject}\r\nX-Client-Verify: SUCCESS\r\n");
    text.into_bytes().into()
}

/// The common name in a certificate's subject, the last one where there are several.
pub(crate) fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(certificate).ok()?;
    parsed.subject().iter_common_name().last()?.as_str().ok().map(str::to_owned)
}

/// A name in the form of RFC 4514, its last part first, in printable ASCII.
fn subject(name: &X509Name<'_>) -> String {
    let part = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| {
        let oid = attribute.attr_type();
        let key = oid2abbrev(oid, oid_registry()).map_or_else(|_| oid.to_id_string(), str::to_owned);
        format!("{key}={}", escaped(attribute.as_str().unwrap_or_default()))
    };
    let several = |parts: &x509_parser::x509::RelativeDistinguishedName<'_>| {
        parts.iter().map(part).collect::<Vec<_>>().join("+")
    };
    let parts: Vec<_> = name.iter().map(several).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join(",")
}

/// A value of which no part can be taken for anything else (RFC 4514 §2.4): what is not printable ASCII, or has a meaning
/// in a name, stands as a backslash and two hexadecimal digits for each byte.
fn escaped(value: &str) -> String {
    let mut out = String::new();
    for (at, byte) in value.bytes().enumerate() {
        let outer_space = byte == b' ' && (at == 0 || at + 1 == value.len());
        if (byte == b' ' || byte.is_ascii_graphic()) && !b",+\"\\<>;=#".contains(&byte) && !outer_space {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("\\{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_can_pass_for_another_part_or_end_a_line() {
        for (value, text) in [
            ("Ann Example", "Ann Example"),
            ("x, O=admin", "x\\2C O\\3Dadmin"),
            ("a\r\nX-Client-Verify: SUCCESS", "a\\0D\\0AX-Client-Verify: SUCCESS"),
            (" a ", "\\20a\\20"),
            ("Ä", "\\C3\\84"),
            ("a+b\"c\\d<e>f;g#h", "a\\2Bb\\22c\\5Cd\\3Ce\\3Ef\\3Bg\\23h"),
        ] {
            assert_eq!(escaped(value), text);
        }
    }

    #[test]
    fn a_client_without_a_certificate_is_told_to_have_none() {
        assert_eq!(&*lines(None), b"X-Client-Verify: NONE\r\n");
    }

    #[test]
    fn what_was_to_be_changed_before_is_changed_as_well() {
        let (mut names, mut added) = (Vec::new(), Vec::new());
        let before = Edits { target: Some(b"/x"), remove: &[b"a"], add: b"B: 1\r\n" };
        let edits =
            CertificateFields::Ours.edits(Some(before), b"C: 2\r\n", (&mut names, &mut added)).unwrap();
        assert_eq!((edits.target, edits.add), (Some(&b"/x"[..]), &b"B: 1\r\nC: 2\r\n"[..]));
        assert_eq!(edits.remove.len(), 4);
    }
}
