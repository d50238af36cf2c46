//! A client that asks the same in HTTP/1.1 and in HTTP/2, so that one test holds for both.
#![allow(dead_code, reason = "each test file uses its part of it")]

use std::net::SocketAddr;

use super::{Plane, http2};

/// In which protocol a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    Http1,
    Http2,
}

/// Every protocol, for a test to hold in each.
pub(crate) const BOTH: [Over; 2] = [Over::Http1, Over::Http2];

/// A request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) fields: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
}

impl<'a> Asked<'a> {
    pub(crate) const fn get(path: &'a str) -> Self {
        Self { method: "GET", host: "site", path, fields: &[], body: b"" }
    }

    pub(crate) const fn with(self, fields: &'a [(&'a str, &'a str)]) -> Self {
        Self { fields, ..self }
    }
}

/// An answer: its fields have names in small letters.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Got {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// A connection on which one request is asked after the other.
pub(crate) enum Client {
    Http1(super::Client),
    Http2(tokio::runtime::Runtime, http2::Client),
}

impl Client {
    pub(crate) fn new(plane: &Plane, over: Over) -> Self {
        Self::connect(plane.address(), over)
    }

    pub(crate) fn connect(address: SocketAddr, over: Over) -> Self {
        match over {
            Over::Http1 => Self::Http1(super::Client::connect(address)),
            Over::Http2 => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let client = runtime.block_on(http2::Client::connect(address));
                Self::Http2(runtime, client)
            }
        }
    }

    pub(crate) fn get(&mut self, path: &str) -> Got {
        self.ask(&Asked::get(path))
    }

    pub(crate) fn ask(&mut self, asked: &Asked<'_>) -> Got {
        match self {
            Self::Http1(client) => over_http1(client, asked),
            Self::Http2(runtime, client) => {
                let answer = runtime.block_on(async {
                    let asking = client.ask(request(asked));
                    tokio::time::timeout(super::PATIENCE, asking).await.expect("in time").expect("an answer")
                });
                let pair = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
                    (name.as_str().to_owned(), value.to_str().unwrap().to_owned())
                };
                Got {
                    status: answer.status,
                    fields: answer.fields.iter().map(pair).collect(),
                    body: answer.body,
                }
            }
        }
    }
}

fn over_http1(client: &mut super::Client, asked: &Asked<'_>) -> Got {
    let lines: String = asked.fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = match asked.body.len() {
        0 => String::new(),
        length => format!("Content-Length: {length}\r\n"),
    };
    let head =
        format!("{} {} HTTP/1.1\r\nHost: {}\r\n{lines}{length}\r\n", asked.method, asked.path, asked.host);
    client.send(&[head.as_bytes(), asked.body].concat());
    let answer = client.answer(asked.method == "HEAD").expect("an answer");
    let lines = answer.head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let fields = lines.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    Got { status: answer.status, fields, body: answer.body }
}

fn request(asked: &Asked<'_>) -> http::Request<Vec<u8>> {
    let uri = format!("http://{}{}", asked.host, asked.path);
    let mut request = http::Request::builder().method(asked.method).uri(uri);
    for (name, value) in asked.fields {
        request = request.header(*name, *value);
    }
    if !asked.body.is_empty() {
        request = request.header("content-length", asked.body.len());
    }
    request.body(asked.body.to_vec()).unwrap()
}
