//! Publishing against the real server: the chain of metadata, bundles, ranges.

use crate::support::{Publisher, Reply, Server, now, server_with};
use evenkeel_protocol::{ContentDigest, ReleaseList};
use evenkeel_trust::{Draft, Header, Refresh, Request, Step, Targets, TrustedSet, limits};
use evenkeel_units::{Digest, WallTime};
use http::{Method, StatusCode};

/// Follows the metadata as a device does, from the root it was born with.
async fn refresh(server: &Server, root: &[u8], now: WallTime) -> evenkeel_trust::Current {
    let mut refresh = Refresh::start(TrustedSet::from_root(root).unwrap(), now);
    loop {
        let Request { name, .. } = match refresh.step() {
            Step::Fetch(request) => request,
            Step::Done => return refresh.finish().unwrap(),
        };
        let reply = server.get(&format!("/v1/metadata/{name}")).await;
        match reply.status {
            StatusCode::OK => refresh.on_bytes(&reply.body).unwrap(),
            StatusCode::NOT_FOUND => refresh.on_missing().unwrap(),
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_published_release_is_found_by_a_device_that_verifies_the_whole_chain() {
    let (server, publisher) = server_with(&["1.1.0", "1.2.0"]).await;
    let root = publisher.root(&server, 1).await;
    let current = refresh(&server, &root, now()).await;
    let target = current.target(&"evenkeel-1.2.0.bundle".parse().unwrap()).unwrap();
    let reply = server.get(&format!("/v1/targets/{}", target.request_path())).await;
    assert_eq!(reply.body, "bundle of 1.2.0");
    let releases: ReleaseList = server.read("/api/releases").await;
    let versions: Vec<_> = releases.releases.iter().map(|release| release.version.to_string()).collect();
    assert_eq!(versions, ["1.2.0", "1.1.0"]);
}

#[tokio::test]
async fn root_metadata_has_to_name_the_servers_keys_and_to_be_the_next_version() {
    let (server, publisher) = (Server::start(), Publisher::new());
    let put = async |bytes: Vec<u8>| server.operator(Method::PUT, "/api/repository/root", bytes).await;
    let stranger = Server::start();
    let refusal = put(publisher.root(&stranger, 1).await).await.refusal(StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refusal.contains("make it with `evenkeel key root --server URL`"), "{refusal}");
    assert!(put(b"{}".to_vec()).await.status == StatusCode::UNPROCESSABLE_ENTITY);

    let (first, second) = (publisher.root(&server, 1).await, publisher.root(&server, 2).await);
    put(first.clone()).await.done(StatusCode::NO_CONTENT);
    put(first.clone()).await.done(StatusCode::NO_CONTENT);
    put(second.clone()).await.done(StatusCode::NO_CONTENT);
    let refusal = put(first).await.refusal(StatusCode::CONFLICT);
    assert!(refusal.contains("root version 1 is not newer than version 2"), "{refusal}");
    put(publisher.root(&server, 4).await).await.refusal(StatusCode::UNPROCESSABLE_ENTITY);
    let forger = Publisher { root_key: evenkeel_trust::SigningKey::from_seed(&[66; 32]), ..Publisher::new() };
    put(forger.root(&server, 3).await).await.refusal(StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(server.get("/v1/metadata/2.root.json").await.body, second);
    server.get("/v1/metadata/3.root.json").await.refusal(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn targets_metadata_is_taken_only_if_the_chain_holds_and_every_file_is_there() {
    let (server, mut publisher) = (Server::start(), Publisher::new());
    let put = async |bytes: Vec<u8>| -> Reply {
        server.operator(Method::PUT, "/api/repository/targets", bytes).await
    };
    let refusal = put(publisher.sign_targets()).await.refusal(StatusCode::CONFLICT);
    assert!(refusal.contains("has no root metadata yet"), "{refusal}");
    publisher.publish_root(&server).await;

    let name = publisher.add("1.1.0", b"bundle");
    let refusal = put(publisher.sign_targets()).await.refusal(StatusCode::CONFLICT);
    assert!(refusal.starts_with("target `evenkeel-1.1.0.bundle` (6 bytes, SHA-256 "), "{refusal}");
    publisher.upload(&server, &name, b"another").await.done(StatusCode::CREATED);
    put(publisher.sign_targets()).await.refusal(StatusCode::CONFLICT);
    publisher.upload(&server, &name, b"bundle").await.done(StatusCode::CREATED);
    let not_listed = format!("/v1/targets/{}.{name}", Digest::of(b"bundle"));
    server.get(&not_listed).await.refusal(StatusCode::NOT_FOUND);

    let mut forged =
        Publisher { targets_key: evenkeel_trust::SigningKey::from_seed(&[66; 32]), ..Publisher::new() };
    forged.add("1.1.0", b"bundle");
    put(forged.sign_targets()).await.refusal(StatusCode::UNPROCESSABLE_ENTITY);
    let expired = Targets {
        header: Header { version: 9, expires: WallTime::from_unix_seconds(1) },
        targets: [].into(),
        delegations: None,
    };
    let mut expired = Draft::new(&expired).unwrap();
    expired.sign(&publisher.targets_key);
    put(expired.to_bytes()).await.refusal(StatusCode::UNPROCESSABLE_ENTITY);
    server.get("/v1/metadata/timestamp.json").await.refusal(StatusCode::NOT_FOUND);

    let older = publisher.sign_targets();
    let good = publisher.sign_targets();
    put(good.clone()).await.done(StatusCode::NO_CONTENT);
    put(good).await.done(StatusCode::NO_CONTENT);
    let refusal = put(older).await.refusal(StatusCode::CONFLICT);
    assert!(refusal.contains("is not newer than version"), "{refusal}");
    assert_eq!(server.get(&not_listed).await.body, "bundle");
}

#[tokio::test]
async fn a_bundle_that_is_not_what_was_announced_does_not_appear() {
    let (server, publisher) = (Server::start(), Publisher::new());
    let bearer = format!("Bearer {}", server.token);
    let digest = ContentDigest::of(b"announced").to_string();
    let fields = [("authorization", bearer.as_str()), ("content-digest", digest.as_str())];
    let reply = server.send(Method::PUT, "/api/targets/a.bundle", &fields, "something else").await;
    assert!(reply.refusal(StatusCode::UNPROCESSABLE_ENTITY).contains("nothing was kept"));
    let reply = server.send(Method::PUT, "/api/targets/a.bundle", &fields[..1], "x").await;
    assert!(reply.refusal(StatusCode::BAD_REQUEST).contains("`content-digest` is missing"));
    for name in ["..", "a%2fb", "a:b", ""] {
        let reply = publisher.upload(&server, name, b"x").await;
        assert!(matches!(reply.status, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND), "{name} {reply:?}");
    }
    for folder in ["targets", "uploads"] {
        assert_eq!(std::fs::read_dir(server.folder.join("repository").join(folder)).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn bundles_are_sent_in_parts_as_rfc_9110_says() {
    let (server, mut publisher) = server_with(&[]).await;
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    publisher.publish(&server, "1.1.0", &bytes).await;
    let sha256 = Digest::of(&bytes);
    let path = format!("/v1/targets/{sha256}.evenkeel-1.1.0.bundle");
    let etag = format!("\"{sha256}\"");
    let get = async |fields: &[(&str, &str)]| server.send(Method::GET, &path, fields, "").await;

    let whole = get(&[]).await;
    assert!(whole.body == bytes && whole.status == StatusCode::OK);
    assert_eq!((whole.field("etag"), whole.field("accept-ranges")), (etag.as_str(), "bytes"));
    assert_eq!(whole.field("content-length"), "1000000");

    let part = get(&[("range", "bytes=500000-500009")]).await;
    assert!(part.body == bytes[500_000..500_010] && part.status == StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.field("content-range"), "bytes 500000-500009/1000000");
    let rest = get(&[("range", "bytes=999990-"), ("if-range", &etag)]).await;
    assert!(rest.body == bytes[999_990..] && rest.status == StatusCode::PARTIAL_CONTENT);
    let other = get(&[("range", "bytes=999990-"), ("if-range", "\"other\"")]).await;
    assert!(other.body == bytes && other.status == StatusCode::OK);
    let beyond = get(&[("range", "bytes=1000000-")]).await;
    assert_eq!(beyond.field("content-range"), "bytes */1000000");
    beyond.refusal(StatusCode::RANGE_NOT_SATISFIABLE);
    get(&[("if-none-match", &etag)]).await.done(StatusCode::NOT_MODIFIED);
    let head = server.send(Method::HEAD, &path, &[], "").await;
    assert_eq!((head.status, head.field("content-length"), head.body.len()), (StatusCode::OK, "1000000", 0));
}

#[tokio::test]
async fn no_path_leads_out_of_the_repository() {
    let (server, _publisher) = server_with(&["1.1.0"]).await;
    for path in [
        "/v1/metadata/..%2f..%2foperator-token",
        "/v1/metadata/../../operator-token",
        "/v1/metadata//etc/passwd",
        "/v1/targets/..%2f..%2f..%2foperator-token",
        "/v1/targets/../../../operator-token",
        "/v1/targets/%00",
        "/operator-token",
        "//",
    ] {
        server.get(path).await.refusal(StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn nobody_operates_without_the_token() {
    let server = Server::start();
    for (method, path) in [
        (Method::GET, "/api/devices"),
        (Method::PUT, "/api/repository/root"),
        (Method::POST, "/api/enrolment-tokens"),
        (Method::POST, "/api/rollouts"),
        (Method::GET, "/api/nothing"),
    ] {
        for fields in [&[][..], &[("authorization", "Bearer wrong")], &[("authorization", "Basic x")]] {
            let reply = server.send(method.clone(), path, fields, "").await;
            assert_eq!(reply.field("www-authenticate"), "Bearer");
            reply.refusal(StatusCode::UNAUTHORIZED);
        }
    }
    let reply = server.operator(Method::DELETE, "/api/devices", "").await;
    assert_eq!(reply.field("allow"), "GET");
    reply.refusal(StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn metadata_is_signed_for_as_long_as_its_role_allows() {
    let (server, publisher) = server_with(&["1.1.0"]).await;
    let root = publisher.root(&server, 1).await;
    let current = refresh(&server, &root, now()).await;
    let timestamp = current.trusted().timestamp().unwrap();
    let life = timestamp.header.expires.since(now());
    assert!(life <= limits::TIMESTAMP_LIFETIME && life > limits::TIMESTAMP_LIFETIME / 2, "{life:?}");
}
