//! `evenkeel check`: every error of a configuration file at once.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use evenkeel_config::{Errors, Kind, MAX_FILE_BYTES, agent, balancer};

/// Check a configuration file: prints every error with its line, what is allowed and the remedy.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The file, such as balancer.toml or agent.toml.
    file: PathBuf,
    /// What the file configures; by default told by its name.
    #[arg(long)]
    kind: Option<KindArgument>,
    /// Does not open the files that it names: certificates, keys, pages and such, which another machine may not have.
    #[arg(long)]
    no_files: bool,
}

/// What a file configures.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum KindArgument {
    /// The data plane, evenkeel-proxy.
    Balancer,
    /// The update agent, evenkeel-agent.
    Agent,
}

/// # Errors
/// When the file cannot be read or has errors.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let (name, text) = read(&arguments.file)?;
    let kind = match arguments.kind {
        Some(KindArgument::Balancer) => Kind::Balancer,
        Some(KindArgument::Agent) => Kind::Agent,
        None => Kind::of_file_name(&name).with_context(|| {
            format!(
                "`{name}`: its name does not tell what it configures; add --kind balancer or --kind agent"
            )
        })?,
    };
    match kind {
        Kind::Balancer => match balancer::Config::parse(&name, &text) {
            Ok(config) => {
                check_files(arguments, &name, &config)?;
                print_fine(&name, &balancer_summary(&config));
                Ok(())
            }
            Err(errors) => Err(errors),
        },
        Kind::Agent => {
            agent::Config::parse(&name, &text).map(|config| print_fine(&name, &agent_summary(&config)))
        }
    }
    .or_else(|errors| refuse(&name, &errors))
}

/// Opens the files that the configuration names, unless that is not wanted.
fn check_files(arguments: &Arguments, name: &str, config: &balancer::Config) -> Result<()> {
    if arguments.no_files {
        return Ok(());
    }
    let problems = evenkeel_proxy::check_files(&arguments.file, config);
    for problem in &problems {
        eprintln!("{name}:{}: {}: {}", problem.line, problem.key, problem.sentence);
    }
    if problems.is_empty() {
        return Ok(());
    }
    let counted = counted(problems.len(), "error");
    bail!("{name}: {counted} in files that it names; on a machine without them add --no-files")
}

/// The file's name and text, as far as a configuration may be long.
pub(crate) fn read(path: &Path) -> Result<(String, String)> {
    let name = path.display().to_string();
    let open = || format!("`{name}`: cannot be read; check the path and its permissions");
    let mut bytes = Vec::new();
    // One byte more than allowed, so that the parser sees that it is too long.
    let limit = MAX_FILE_BYTES as u64 + 1;
    File::open(path).with_context(open)?.take(limit).read_to_end(&mut bytes).with_context(open)?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok((name, text)),
        Err(error) => {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + good.iter().filter(|&&byte| byte == b'\n').count();
            bail!("{name}:{line}: the text is not UTF-8; save the file in this encoding")
        }
    }
}

/// Prints the errors and turns them into a failure that counts them.
pub(crate) fn refuse(name: &str, errors: &Errors) -> Result<()> {
    eprintln!("{errors}");
    bail!("{name}: {}; nothing was changed", counted(errors.count(), "error"))
}

fn print_fine(name: &str, summary: &str) {
    println!("{name}: fine: {summary}");
}

/// What a configuration of the data plane amounts to.
pub(crate) fn balancer_summary(config: &balancer::Config) -> String {
    let servers = config.pools().iter().map(|pool| pool.servers.len()).sum();
    let (listeners, pools) = (config.listeners().len(), config.pools().len());
    [counted(listeners, "listener"), counted(pools, "pool"), counted(servers, "server")].join(", ")
}

fn agent_summary(config: &agent::Config) -> String {
    let device = &config.device;
    format!("{} box on channel {}, updated from {}", device.hardware, device.channel, config.server.url)
}

fn counted(count: usize, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}
