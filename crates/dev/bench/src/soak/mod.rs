//! A soak: mixed load over a long time, while the configuration is read again every ten seconds and servers are stopped
//! and started, with slow clients among the others.
//!
//! Owns: the order of events, the samples of memory, and the verdict: no unexplained error, and memory that does not
//! grow. Leaves to `clients` what they do, and to `tally` which errors have a reason.

mod clients;
mod tally;

use std::{
    env, fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::{task::JoinSet, time};

use self::{
    clients::Target,
    tally::{Client, Tally},
};
use crate::{certificate::Certificate, process::Started};

/// Between two readings of the configuration.
const RELOAD: Duration = Duration::from_secs(10);

/// Between two stops of a server; the three take turns.
const FLAP: Duration = Duration::from_secs(20);

/// How long a stopped server is away: longer than one check of health, shorter than three.
const AWAY: Duration = Duration::from_secs(3);

/// Between two samples of memory.
const SAMPLE: Duration = Duration::from_secs(5);

/// Growth of memory from the first tenth to the last that counts as flat: an allocator's rounding, not a leak.
const FLAT_BYTES: u64 = 2 << 20;

/// Clients of each kind.
const CLIENTS: [(Client, u32); 11] = [
    (Client::Keepalive, 24),
    (Client::Closing, 8),
    (Client::Large, 4),
    (Client::Upload, 4),
    (Client::Tls, 8),
    (Client::Handshake, 4),
    (Client::Http2, 2),
    (Client::Websocket, 8),
    (Client::Tcp, 4),
    (Client::SlowHead, 8),
    (Client::SlowReader, 8),
];

/// Soaks a data plane for a while, and prints what it saw.
///
/// # Errors
/// When there was an unexplained error, memory grew, or nothing of a kind was done.
pub(crate) async fn run(program: &Path, length: Duration) -> Result<()> {
    let folder = TempDir::with_prefix("evenkeel-soak").context("no folder for temporary files")?;
    let mut stand = Stand::start(program, folder.path()).await?;
    let began = Instant::now();
    let tally = Tally::new(began);
    let target = Target {
        plain: stand.plain,
        tls: stand.tls,
        tcp: stand.tcp,
        until: began + length,
        tally: tally.clone(),
    };
    let mut clients = start_clients(&target);
    let samples = stand.shake(began + length, &tally).await?;
    while clients.join_next().await.is_some() {}
    let reloads = stand.reloads();
    report(length, &tally, &samples, reloads, stand.asked);
    verdict(&tally, &samples, (reloads, stand.asked))
}

fn start_clients(target: &Target) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for (client, number) in CLIENTS {
        for _ in 0..number {
            let target = target.clone();
            match client {
                Client::Http2 => tasks.spawn(clients::http2(target)),
                Client::Websocket => tasks.spawn(clients::websocket(target)),
                Client::SlowHead => tasks.spawn(clients::slow_head(target)),
                Client::SlowReader => tasks.spawn(clients::slow_reader(target)),
                Client::Keepalive
                | Client::Closing
                | Client::Large
                | Client::Upload
                | Client::Tls
                | Client::Handshake
                | Client::Tcp => tasks.spawn(clients::http1(client, target)),
            };
        }
    }
    tasks
}

/// The data plane and its servers.
struct Stand {
    folder: PathBuf,
    proxy: Started,
    servers: Vec<(SocketAddr, Option<Started>)>,
    admin: SocketAddr,
    plain: SocketAddr,
    tls: SocketAddr,
    tcp: SocketAddr,
    asked: u32,
}

impl Stand {
    async fn start(program: &Path, folder: &Path) -> Result<Self> {
        ensure!(program.is_file(), "{} is not there; scripts/soak builds it", program.display());
        Certificate::make(folder)?;
        let [admin, plain, tls, tcp, first, second, third] = free_addresses()?;
        let mut servers = Vec::new();
        for address in [first, second, third] {
            servers.push((address, Some(start_server(address, folder).await?)));
        }
        let (file, log) = (folder.join("balancer.toml"), folder.join("proxy.log"));
        let addresses = [first, second, third];
        fs::write(&file, configuration([admin, plain, tls, tcp], addresses, folder, 1))?;
        let socket = folder.join("control").display().to_string();
        let (program, file) = (program.display().to_string(), file.display().to_string());
        let command = [&program, "--workers", "2", "--control-socket", &socket, "--config", &file];
        let mut proxy = Started::free("evenkeel", &command, &log)?;
        proxy.wait_until_it_listens(tls, &log).await?;
        Ok(Self { folder: folder.to_owned(), proxy, servers, admin, plain, tls, tcp, asked: 0 })
    }

    /// Reloads, stops, starts and samples until a time. Ends with every server up.
    async fn shake(&mut self, until: Instant, tally: &Tally) -> Result<Vec<u64>> {
        let began = Instant::now();
        let (mut reload, mut flap, mut sample) = (began + RELOAD, began + FLAP, began + SAMPLE);
        let mut back: Option<Instant> = None;
        let (mut samples, mut turn) = (Vec::new(), 0);
        loop {
            let now = Instant::now();
            if now >= until && back.is_none() {
                return Ok(samples);
            }
            if now >= reload {
                self.reload()?;
                reload += RELOAD;
            }
            if now >= sample {
                samples.push(self.proxy.memory().context("the data plane is gone")?);
                sample += SAMPLE;
            }
            let place = turn % self.servers.len();
            if back.is_none() && now >= flap && now + AWAY < until {
                tally.stopped();
                self.servers[place].1 = None;
                (back, flap) = (Some(now + AWAY), flap + FLAP);
            }
            if back.is_some_and(|back| now >= back) {
                let address = self.servers[place].0;
                self.servers[place].1 = Some(start_server(address, &self.folder).await?);
                tally.returned();
                (back, turn) = (None, turn + 1);
            }
            let next = [Some(reload), Some(flap), Some(sample), back].into_iter().flatten().min();
            time::sleep_until(next.unwrap_or(until).min(until.max(now + Duration::from_millis(20))).into())
                .await;
        }
    }

    /// Writes a configuration that differs from the last one, and asks for it to be read.
    fn reload(&mut self) -> Result<()> {
        self.asked += 1;
        let servers = [self.servers[0].0, self.servers[1].0, self.servers[2].0];
        let weight = 1 + self.asked % 2;
        let listeners = [self.admin, self.plain, self.tls, self.tcp];
        let text = configuration(listeners, servers, &self.folder, weight);
        fs::write(self.folder.join("balancer.toml"), text)?;
        self.proxy.signal(Signal::SIGHUP);
        Ok(())
    }

    /// How many configurations have been taken, as the data plane's log tells.
    fn reloads(&self) -> u32 {
        let log = fs::read_to_string(self.folder.join("proxy.log")).unwrap_or_default();
        log.lines().filter(|line| line.contains(TAKEN)).count().try_into().unwrap_or(u32::MAX)
    }
}

/// What the data plane logs when it has taken a configuration.
const TAKEN: &str = "configuration taken over";

async fn start_server(address: SocketAddr, folder: &Path) -> Result<Started> {
    let program = env::current_exe().context("cannot find this program")?.display().to_string();
    let log = folder.join(format!("server-{}.log", address.port()));
    let mut server = Started::free("server", &[&program, "origin", "--listen", &address.to_string()], &log)?;
    server.wait_until_it_listens(address, &log).await?;
    Ok(server)
}

/// Addresses that nobody listens on, each another one: all are held until the last is found.
fn free_addresses<const N: usize>() -> Result<[SocketAddr; N]> {
    let listeners: Vec<TcpListener> =
        (0..N).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>().context("no free port")?;
    let addresses = listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
    addresses.try_into().ok().context("as many addresses as were asked for")
}

fn configuration(listeners: [SocketAddr; 4], servers: [SocketAddr; 3], folder: &Path, weight: u32) -> String {
    let [admin, plain, tls, tcp] = listeners;
    let certificate = Certificate::at(folder);
    let (chain, key) = (certificate.chain().display(), certificate.key().display());
    let mut text = format!("[admin]\nlisten = \"{admin}\"\n");
    for (name, bind, mode) in [("plain", plain, "http"), ("tcp", tcp, "tcp"), ("tls", tls, "http")] {
        text += &format!(
            "\n[[listener]]\nname = \"{name}\"\nbind = \"{bind}\"\nmode = \"{mode}\"\npool = \"{mode}\"\n"
        );
    }
    text += &format!("[listener.tls]\ncertificate = \"{chain}\"\nkey = \"{key}\"\n");
    for pool in ["http", "tcp"] {
        text += &format!("\n[[pool]]\nname = \"{pool}\"\n");
        for (number, address) in servers.iter().enumerate() {
            let weight = if number == 0 { weight } else { 1 };
            text += &format!(
                "[[pool.server]]\nname = \"s{number}\"\naddress = \"{address}\"\nweight = {weight}\n"
            );
        }
    }
    text
}

/// Memory in the first tenth, after the warm-up of a sample, in the middle and in the last tenth: the medians.
fn stages(samples: &[u64]) -> Option<[u64; 3]> {
    let part = (samples.len() / 10).max(1);
    let middle = samples.len().checked_sub(part)? / 2;
    let median = |from: usize| {
        let mut part = samples.get(from..from + part)?.to_vec();
        part.sort_unstable();
        part.get(part.len() / 2).copied()
    };
    Some([median(1.min(samples.len() - part))?, median(middle)?, median(samples.len() - part)?])
}

fn report(length: Duration, tally: &Tally, samples: &[u64], taken: u32, asked: u32) {
    println!("\n| clients | done | explained errors | unexplained errors |\n|---|---|---|---|");
    for (client, count) in tally.counts() {
        println!("| {client} | {} | {} | {} |", count.done, count.explained, count.unexplained);
    }
    println!(
        "\n{} s, {taken} of {asked} reloads taken, {} stops of a server",
        length.as_secs(),
        tally.stops()
    );
    if let Some([start, middle, end]) = stages(samples) {
        let kib = |bytes| bytes / 1024;
        println!(
            "memory: {} KiB at the start, {} KiB in the middle, {} KiB at the end",
            kib(start),
            kib(middle),
            kib(end)
        );
    }
    for description in tally.descriptions() {
        println!("unexplained: {description}");
    }
}

fn verdict(tally: &Tally, samples: &[u64], (taken, asked): (u32, u32)) -> Result<()> {
    let counts = tally.counts();
    let unexplained: u64 = counts.values().map(|count| count.unexplained).sum();
    ensure!(unexplained == 0, "{unexplained} unexplained errors");
    for (client, _) in CLIENTS {
        let done = counts.get(&client).map_or(0, |count| count.done);
        ensure!(done > 0, "nothing was done by clients of the kind {client}");
    }
    ensure!(taken >= asked, "{taken} of {asked} reloads were taken");
    let [start, middle, end] = stages(samples).context("too short for a sample of memory")?;
    ensure!(
        end <= start.max(middle) + FLAT_BYTES,
        "memory grew from {start} and {middle} to {end} bytes; {FLAT_BYTES} more would be flat"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_accepted_with_every_weight() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        for weight in [1, 2] {
            let listeners = [address(1), address(2), address(3), address(4)];
            let text = configuration(listeners, [address(5), address(6), address(7)], Path::new("/"), weight);
            if let Err(errors) = evenkeel_config::balancer::Config::parse("balancer.toml", &text) {
                panic!("{errors}\n{text}");
            }
        }
    }

    #[test]
    fn memory_is_judged_by_its_first_middle_and_last_tenth() {
        let samples: Vec<u64> = (0..100).collect();
        assert_eq!(stages(&samples), Some([6, 50, 95]));
        assert_eq!(stages(&[]), None);
        assert_eq!(stages(&[7]), Some([7, 7, 7]));
    }

    #[test]
    fn a_run_with_an_unexplained_error_or_growth_fails() {
        let tally = Tally::new(Instant::now());
        for (client, _) in CLIENTS {
            tally.done(client);
        }
        assert!(verdict(&tally, &[1 << 20; 10], (1, 1)).is_ok());
        assert!(verdict(&tally, &[1 << 20; 10], (0, 1)).is_err());
        let grown: Vec<u64> = (0..10).map(|number| number << 20).collect();
        assert!(verdict(&tally, &grown, (1, 1)).is_err());
        tally.failed(Client::Keepalive, Instant::now(), "status 503");
        assert!(verdict(&tally, &[1 << 20; 10], (1, 1)).is_err());
    }
}
