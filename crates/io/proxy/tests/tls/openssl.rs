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

#[test]
fn a_response_from_a_file_is_stapled() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let lines = authority.issue(&["site"]).write(folder.path(), "site");
    let ca = authority.write_with_key(folder.path());
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).output().expect("openssl is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    openssl(&["ocsp", "-issuer", &ca.0, "-cert", &file("site.pem"), "-reqout", &file("request")]);
    std::fs::write(folder.path().join("index.txt"), "").unwrap();
    openssl(&[
        "ocsp",
        "-index",
        &file("index.txt"),
        "-rsigner",
        &ca.0,
        "-rkey",
        &ca.1,
        "-CA",
        &ca.0,
        "-reqin",
        &file("request"),
        "-respout",
        &file("site.ocsp"),
        "-ndays",
        "7",
    ]);
    let lines = format!("{lines}ocsp = \"{}\"\n", file("site.ocsp"));
    let plane = Plane::start(&configuration("http", &lines, &[named("a")], ""), 1);
    for version in ["-tls1_2", "-tls1_3"] {
        let printed = s_client(plane.address(), &["-status", version]);
        assert!(printed.contains("OCSP Response Status: successful"), "{printed}");
    }
}
