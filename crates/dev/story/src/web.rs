//! The three real web servers behind the box: nginx, each with a page that says which one it is.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    http,
    process::Process,
    progress::{Progress, Seen},
};

/// The names of the servers; each answers `GET /` with its name.
pub(crate) const NAMES: [&str; 3] = ["app1", "app2", "app3"];

/// The running web servers.
pub(crate) struct WebServers {
    servers: Vec<(SocketAddr, PathBuf, Process)>,
}

impl WebServers {
    /// Starts one nginx per name and waits until each answers.
    pub(crate) fn start(dir: &Path, host: IpAddr, ports: &[u16], progress: &mut Progress) -> Result<Self> {
        let servers = NAMES
            .iter()
            .zip(ports)
            .map(|(name, &port)| start_one(name, SocketAddr::new(host, port), &dir.join(name)))
            .collect::<Result<Vec<_>>>()?;
        let mut web = Self { servers };
        progress.wait("web servers", Duration::from_secs(10), || web.look())?;
        Ok(web)
    }

    /// Where each server listens.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.servers.iter().map(|(address, ..)| *address)
    }

    fn look(&mut self) -> Result<Seen<()>> {
        for (address, log, process) in &mut self.servers {
            process.still_runs(log)?;
            if let Err(error) = http::get(*address, "/") {
                return Ok(Seen::NotYet(format!("{address}: {error:#}")));
            }
        }
        let shown: Vec<String> = self.addresses().map(|address| address.to_string()).collect();
        Ok(Seen::Yes((), format!("nginx answers on {}", shown.join(", "))))
    }
}

fn start_one(name: &str, address: SocketAddr, dir: &Path) -> Result<(SocketAddr, PathBuf, Process)> {
    fs::create_dir_all(dir)?;
    let config = dir.join("nginx.conf");
    fs::write(&config, configuration(name, address, dir)).with_context(|| config.display().to_string())?;
    let log = dir.join("log");
    let mut command = Command::new("nginx");
    command.arg("-p").arg(dir).arg("-c").arg(&config).arg("-e").arg(dir.join("error.log"));
    Ok((address, log.clone(), Process::start(name, &mut command, &log)?))
}

fn configuration(name: &str, address: SocketAddr, dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "daemon off;\npid {dir}/pid;\nworker_processes 1;\nevents {{}}\nhttp {{\n  access_log off;\n  \
         client_body_temp_path {dir}/body;\n  proxy_temp_path {dir}/proxy;\n  fastcgi_temp_path {dir}/fastcgi;\n  \
         uwsgi_temp_path {dir}/uwsgi;\n  scgi_temp_path {dir}/scgi;\n  keepalive_requests 1000000;\n  server {{\n    \
         listen {address};\n    location / {{ default_type text/plain; return 200 '{name}\\n'; }}\n  }}\n}}\n"
    )
}
