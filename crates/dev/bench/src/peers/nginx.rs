//! nginx's configuration, as well as it can be set up for each scenario.

use std::{fmt::Write as _, net::SocketAddr, path::Path};

use super::Setup;
use crate::scenario::Scenario;

/// How a program of nginx was built, where a configuration must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Build {
    /// Passing bytes through is a module to be loaded from this folder rather than built in.
    modules: Option<String>,
    /// HTTP/2 has a directive of its own (from 1.25.1), rather than a word behind `listen`.
    h2_directive: bool,
}

impl Build {
    /// From what `nginx -V` prints. `EVENKEEL_NGINX_MODULES` names the folder of modules that do not lie where the
    /// program was built to look for them.
    pub(super) fn of(said: &str) -> Self {
        let option = |name: &str| said.split_whitespace().find_map(|word| word.strip_prefix(name));
        let version = said.split("nginx/").nth(1).and_then(|rest| rest.split_whitespace().next());
        let numbers: Vec<u32> =
            version.unwrap_or_default().split('.').filter_map(|number| number.parse().ok()).collect();
        let folder = std::env::var("EVENKEEL_NGINX_MODULES").ok();
        let built = || option("--modules-path=").unwrap_or("/usr/lib/nginx/modules").to_owned();
        Self {
            modules: option("--with-stream=dynamic").map(|_| folder.unwrap_or_else(built)),
            h2_directive: numbers.as_slice() >= [1, 25, 1].as_slice(),
        }
    }
}

/// The text of `nginx.conf`.
pub(super) fn configuration(setup: Setup<'_>, address: SocketAddr, build: &Build) -> String {
    // Here the limit counts both sides of a proxied connection.
    let room = 2 * setup.room() + 4 * setup.scenario.servers();
    let folder = setup.folder.display();
    let (module, body) = if setup.scenario.is_tcp() {
        let module = build.modules.as_ref();
        let load = module.map(|folder| format!("load_module {folder}/ngx_stream_module.so;\n"));
        (load.unwrap_or_default(), stream(address, setup.origin))
    } else {
        (String::new(), http(setup, address, build))
    };
    // As root, the worker would give up its rights and could not write to the folder.
    let user = if nix::unistd::geteuid().is_root() { "user root;\n" } else { "" };
    format!(
        "{module}{user}daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx-errors.log error;
events {{
    worker_connections {room};
}}
{body}"
    )
}

fn http(setup: Setup<'_>, address: SocketAddr, build: &Build) -> String {
    let scenario = setup.scenario;
    let temporary = temporary_folders(setup.folder);
    let servers: String = setup.servers().map(|server| format!("        server {server};\n")).collect();
    // One for each server and each connection of the load, or connections are not reused.
    let kept = 1_024.max(4 * scenario.servers());
    let listen = listen(setup, address, build);
    let connection = if scenario == Scenario::Websocket {
        "proxy_set_header Connection upgrade;\n            proxy_set_header Upgrade $http_upgrade;"
    } else {
        "proxy_set_header Connection \"\";"
    };
    let forward = format!(
        "{{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            {connection}
        }}
"
    );
    let mut locations = format!("        location / {forward}");
    for number in 0..scenario.routes() {
        write!(locations, "        location /r/{number}/ {forward}").expect("a String takes all");
    }
    format!(
        r"http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    proxy_max_temp_file_size 0;
    proxy_read_timeout 1h;
{temporary}    upstream origin {{
{servers}        keepalive {kept};
        keepalive_requests 1000000000;
    }}
    server {{
{listen}{locations}    }}
}}
"
    )
}

fn temporary_folders(folder: &Path) -> String {
    let folder = folder.display();
    ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("    {kind}_temp_path {folder}/nginx-{kind};\n"))
        .collect()
}

fn listen(setup: Setup<'_>, address: SocketAddr, build: &Build) -> String {
    let scenario = setup.scenario;
    let tls = if scenario.is_tls() { " ssl" } else { "" };
    let (word, directive) = match (scenario.is_h2(), build.h2_directive) {
        (true, true) => ("", "        http2 on;\n"),
        (true, false) => (" http2", ""),
        (false, _) => ("", ""),
    };
    let mut text = format!("        listen {address}{tls}{word} backlog=4096;\n{directive}");
    if scenario.is_tls() {
        let (chain, key) = (setup.certificate.chain().display(), setup.certificate.key().display());
        write!(
            text,
            "        ssl_certificate {chain};\n        ssl_certificate_key {key};\n        \
             ssl_protocols TLSv1.2 TLSv1.3;\n"
        )
        .expect("a String takes all");
    }
    text
}

fn stream(address: SocketAddr, origin: SocketAddr) -> String {
    format!(
        "stream {{
    server {{
        listen {address} backlog=4096;
        proxy_pass {origin};
    }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_of_debian_loads_the_module_and_a_newer_one_has_a_directive_for_http_2() {
        let debian =
            "nginx version: nginx/1.22.1\nconfigure arguments: --modules-path=/m --with-stream=dynamic";
        assert_eq!(Build::of(debian), Build { modules: Some("/m".to_owned()), h2_directive: false });
        let newer = "nginx version: nginx/1.31.4\nconfigure arguments: --with-stream --with-http_v2_module";
        assert_eq!(Build::of(newer), Build { modules: None, h2_directive: true });
    }
}
