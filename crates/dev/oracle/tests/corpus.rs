//! The judgement of the fuzz targets over the committed corpus, so that every run of the tests holds what fuzzing found.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

use std::{collections::BTreeSet, fs, path::Path};

use evenkeel_http1::Method;
use evenkeel_oracle::{
    Agreement, Seen, access_log, answer, boot_entries, config, cookies, device_messages, http2_floods,
    http2_messages, proxy_protocol, releases, request_edits, request_fields, requests, routes, targets,
    tls_hello, trust_metadata,
};

/// The judgement of a target, which panics of itself.
type Judge = fn(&[u8]) -> Seen;

/// The targets whose judgement is a property; the others compare with other parsers of HTTP/1.1 and have their own tests.
const PROPERTIES: [(&str, Judge); 15] = [
    ("access_log", access_log),
    ("boot_entries", boot_entries),
    ("config", config),
    ("cookies", cookies),
    ("device_messages", device_messages),
    ("http2_floods", http2_floods),
    ("http2_messages", http2_messages),
    ("proxy_protocol", proxy_protocol),
    ("releases", releases),
    ("request_edits", request_edits),
    ("request_fields", request_fields),
    ("routes", routes),
    ("targets", targets),
    ("tls_hello", tls_hello),
    ("trust_metadata", trust_metadata),
];

/// Targets that compare with other parsers of HTTP/1.1.
const COMPARISONS: [&str; 3] = ["answers", "chunks", "requests"];

/// Each file of the corpus of a target, with its name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let read = |entry: fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        (name, fs::read(entry.path()).unwrap())
    };
    let mut files: Vec<_> = entries.map(|entry| read(entry.unwrap())).collect();
    files.sort();
    assert!(files.len() >= 5, "{target}: too few files to mean anything: {}", files.len());
    files
}

fn sum(all: Agreement, one: Agreement) -> Agreement {
    Agreement { taken: all.taken + one.taken, hyper: all.hyper + one.hyper, milo: all.milo + one.milo }
}

#[test]
fn i9_other_parsers_frame_the_corpus_of_requests_as_we_do() {
    let mut all = Agreement::default();
    for (name, bytes) in corpus("requests") {
        let agreement = requests(&bytes).unwrap_or_else(|differ| panic!("{name}: {differ}"));
        all = sum(all, agreement);
    }
    println!("{all:?}");
    // A parser that refuses everything agrees with everybody.
    assert!(all.hyper * 10 > all.taken * 8 && all.milo * 2 > all.taken, "{all:?}");
}

#[test]
fn i9_other_parsers_frame_the_corpus_of_answers_as_we_do() {
    let mut all = Agreement::default();
    for (name, bytes) in corpus("answers") {
        for method in [Method::Get, Method::Head] {
            let agreement = answer(&bytes, method).unwrap_or_else(|differ| panic!("{name}: {differ}"));
            all = sum(all, agreement);
        }
    }
    println!("{all:?}");
    assert!(all.hyper * 10 > all.taken * 8 && all.milo * 2 > all.taken, "{all:?}");
}

#[test]
fn i9_other_parsers_frame_the_corpus_of_chunks_as_we_do() {
    const REQUEST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut all = Agreement::default();
    for (name, bytes) in corpus("chunks") {
        let stream = [REQUEST, &bytes].concat();
        let agreement = requests(&stream).unwrap_or_else(|differ| panic!("{name}: {differ}"));
        all = sum(all, agreement);
        let stream = [ANSWER, &bytes].concat();
        let agreement = answer(&stream, Method::Get).unwrap_or_else(|differ| panic!("{name}: {differ}"));
        all = sum(all, agreement);
    }
    println!("{all:?}");
    assert!(all.hyper * 10 > all.taken * 8 && all.milo * 2 > all.taken, "{all:?}");
}

#[test]
fn what_must_hold_of_each_parser_holds_over_its_corpus() {
    for (target, judge) in PROPERTIES {
        let files = corpus(target);
        let taken = files.iter().filter(|(name, bytes)| {
            println!("{target}/{name}");
            judge(bytes) == Seen::Taken
        });
        let (taken, all) = (taken.count(), files.len());
        println!("{target}: {taken} of {all} taken");
        // A parser that refuses everything keeps every promise. Fuzzing finds many more ways to be refused than to be
        // taken, so that their share says nothing.
        assert!(taken >= 5, "{target}: only {taken} of {all} were taken");
    }
}

#[test]
fn every_fuzz_target_is_judged_here_too() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../fuzz/Cargo.toml");
    let manifest = fs::read_to_string(manifest).unwrap();
    let named = manifest.split("[[bin]]").skip(1).map(|table| table.split('"').nth(1).unwrap());
    let judged = PROPERTIES.iter().map(|(target, _)| *target).chain(COMPARISONS);
    assert_eq!(named.collect::<BTreeSet<_>>(), judged.collect());
}
