//! The other implementation: what openssl's client sees of a listener.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
};

use crate::{
    certificates::Authority,
    clients::configuration,
    support::{Plane, named},
};

/// What `openssl s_client` prints; it ends at once, for it is given nothing to send.
fn s_client(address: SocketAddr, arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string(), "-servername", "site"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed where the tests run");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn openssl_agrees_on_versions_protocols_and_curves_and_on_nothing_that_is_weak() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let lines = authority.issue(&["site"]).write(folder.path(), "site");
    let ca = authority.write(folder.path(), "ca.pem").display().to_string();
    let plane = Plane::start(&configuration("http", &lines, &[named("a")], ""), 1);
    let verified = |arguments: &[&str]| {
        let printed =
            s_client(plane.address(), &[&["-CAfile", &ca, "-verify_return_error"], arguments].concat());
        (printed.contains("Verify return code: 0 (ok)"), printed)
    };
    for (arguments, words) in [
        (&["-tls1_3"][..], "New, TLSv1.3"),
        (&["-tls1_2"], "New, TLSv1.2"),
        (&["-tls1_2"], "Extended master secret: yes"),
        (&["-alpn", "h3,http/1.1"], "ALPN protocol: http/1.1"),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], "ECDHE-ECDSA-CHACHA20-POLY1305"),
        (&["-curves", "P-384"], "secp384r1"),
        (&["-curves", "X25519"], "X25519"),
        (&["-tls1_2"], "Secure Renegotiation IS supported"),
    ] {
        let (good, printed) = verified(arguments);
        assert!(good && printed.contains(words), "{arguments:?}, no `{words}` in: {printed}");
    }
    for refused in [
        &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"][..],
        &["-tls1", "-cipher", "DEFAULT@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "AES128-SHA"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"],
        &["-alpn", "h3"],
    ] {
        let (_, printed) = verified(refused);
        let met = printed.contains("BEGIN CERTIFICATE") && !refused.contains(&"-alpn");
        assert!(!met && printed.contains("alert"), "{refused:?}: {printed}");
    }
}

#[test]
fn the_newest_version_alone_is_spoken_where_the_configuration_says_so() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let lines = authority.issue(&["site"]).write(folder.path(), "site") + "minimum_version = \"1.3\"\n";
    let plane = Plane::start(&configuration("http", &lines, &[named("a")], ""), 1);
    assert!(s_client(plane.address(), &["-tls1_3"]).contains("New, TLSv1.3"));
    assert!(s_client(plane.address(), &["-tls1_2"]).contains("alert protocol version"));
}

/// Where a certificate `site` and its OCSP responses are.
struct Stapled {
    folder: tempfile::TempDir,
    ca: (String, String),
}

impl Stapled {
    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn openssl(arguments: &[&str]) {
        let output = Command::new("openssl").args(arguments).output().expect("openssl is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Has the authority answer for a certificate; the response is there at once, whole.
    fn respond(&self, certificate: &str, index: &str, validity: &[&str]) {
        let (request, new) = (self.file("request"), self.file("new.ocsp"));
        let certificate = self.file(certificate);
        Self::openssl(&["ocsp", "-issuer", &self.ca.0, "-cert", &certificate, "-reqout", &request]);
        std::fs::write(self.folder.path().join("index.txt"), index).unwrap();
        let index = self.file("index.txt");
        let signer = ["-rsigner", &self.ca.0, "-rkey", &self.ca.1, "-CA", &self.ca.0];
        let paths = ["-index", &index, "-reqin", &request, "-respout", &new];
        Self::openssl(&[&["ocsp"], &signer[..], &paths[..], validity].concat());
        std::fs::rename(new, self.folder.path().join("site.ocsp")).unwrap();
    }
}

#[test]
fn a_response_from_a_file_is_stapled_as_long_as_it_is_of_use_and_a_reload_takes_the_next_one() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let lines = authority.issue(&["site"]).write(folder.path(), "site");
    authority.issue(&["other"]).write(folder.path(), "other");
    let stapled = Stapled { ca: authority.write_with_key(folder.path()), folder };
    stapled.respond("site.pem", "", &["-ndays", "7"]);
    let lines = format!("{lines}ocsp = \"{}\"\n", stapled.file("site.ocsp"));
    let plane = Plane::start(&configuration("http", &lines, &[named("a")], ""), 1);
    let state = || {
        let page: serde_json::Value = serde_json::from_str(&plane.admin("/status").1).unwrap();
        page["listeners"][0]["certificates"][0]["ocsp"].clone()
    };
    let shown = |version: &str| s_client(plane.address(), &["-status", version]);
    // The index of the authority is empty, so that it knows no certificate: such a response is of no use to anyone.
    assert_eq!((&state()["state"], &state()["shown"]), (&"unknown".into(), &false.into()));
    assert!(shown("-tls1_3").contains("no response sent"), "{}", shown("-tls1_3"));
    let serial = serial_of(&stapled.file("site.pem"));
    let good = format!("V\t491231235959Z\t\t{serial}\tunknown\t/CN=site\n");
    stapled.respond("site.pem", &good, &["-ndays", "7"]);
    plane.reload().unwrap();
    assert_eq!((&state()["state"], &state()["shown"]), (&"good".into(), &true.into()));
    let left = state()["seconds_left"].as_i64().unwrap();
    assert!((6 * 86_400..=7 * 86_400).contains(&left), "{left}");
    for version in ["-tls1_2", "-tls1_3"] {
        let printed = shown(version);
        assert!(printed.contains("OCSP Response Status: successful"), "{printed}");
        assert!(printed.contains("Cert Status: good"), "{printed}");
    }
    let (_, metrics) = plane.admin("/metrics");
    assert!(metrics.contains("evenkeel_tls_ocsp_expiry_timestamp_seconds{listener=\"web\""), "{metrics}");
    stapled.respond("other.pem", "", &["-ndays", "7"]);
    plane.reload().unwrap();
    assert_eq!(state()["state"], "other_certificate");
    assert!(shown("-tls1_3").contains("no response sent"));
    let revoked = format!("R\t491231235959Z\t260101000000Z\t{serial}\tunknown\t/CN=site\n");
    stapled.respond("site.pem", &revoked, &["-ndays", "7"]);
    plane.reload().unwrap();
    assert_eq!((&state()["state"], &state()["shown"]), (&"revoked".into(), &true.into()));
}

/// The serial number of a certificate in hexadecimal digits.
fn serial_of(certificate: &str) -> String {
    let output = Command::new("openssl").args(["x509", "-noout", "-serial", "-in", certificate]).output();
    let printed = String::from_utf8(output.expect("openssl is installed").stdout).unwrap();
    printed.trim().trim_start_matches("serial=").to_owned()
}
