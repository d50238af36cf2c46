//! The judgement of the fuzz targets over the committed corpus, so that every run of the tests holds what fuzzing found.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

use std::{fs, path::Path};

use evenkeel_http1::Method;
use evenkeel_oracle::{Agreement, answer, requests};

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
    assert!(files.len() > 20, "{target}: too few files to mean anything: {}", files.len());
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
