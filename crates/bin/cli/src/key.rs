//! `evenkeel key`: signing keys, and the root metadata that says which keys count.
//!
//! Owns: key files, and the ceremony of root metadata: who may sign, how many have to, and its versions.
//! Leaves to others: what is signed with the targets key (`release sign`).

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use evenkeel_trust::{
    Draft, Header, KeyFile, OnlineKeys, PublicKey, RoleName, Root, SigningKey, Targets, TrustError, Value,
    Verified, limits,
};
use evenkeel_units::ByteCount;

use crate::{clock, files, server::Server};

/// Longest key file: an Ed25519 key has 400 bytes; 16 KiB would hold an RSA key of another tool, to say so.
const KEY_FILE: ByteCount = ByteCount::kib(16);

/// Signing keys, and the root metadata that says which keys count
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Make a signing key
    ///
    /// Writes an Ed25519 key to a new file that only you may read. Keep root and targets keys off any machine
    /// that serves or runs software, and keep a copy.
    New(New),
    /// Show the identity of a key
    Show(Show),
    /// Make the root metadata: whose signatures count
    ///
    /// Root metadata names the keys of every role. It is signed with the root keys given. Keys given as public
    /// files (`evenkeel key show --public`) count without signing now; their holders add their signatures with
    /// `evenkeel key sign`.
    Root(Box<NewRoot>),
    /// Add a signature to root or targets metadata
    Sign(Sign),
}

#[derive(Debug, Args)]
struct New {
    /// What it will sign
    #[arg(long)]
    role: Role,
    /// The file to make
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Roles that operators hold keys of.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    Root,
    Targets,
    Snapshot,
    Timestamp,
}

impl Role {
    const fn name(self) -> RoleName {
        match self {
            Self::Root => RoleName::Root,
            Self::Targets => RoleName::Targets,
            Self::Snapshot => RoleName::Snapshot,
            Self::Timestamp => RoleName::Timestamp,
        }
    }
}

#[derive(Debug, Args)]
struct Show {
    /// The key file
    file: PathBuf,
    /// Print the public key instead, as a file for others
    #[arg(long)]
    public: bool,
}

#[derive(Debug, Args)]
struct NewRoot {
    /// A key of the root role; give it once for each key
    #[arg(long, value_name = "FILE", required = true)]
    root_key: Vec<PathBuf>,
    /// A key of the targets role; give it once for each key
    #[arg(long, value_name = "FILE", required = true)]
    targets_key: Vec<PathBuf>,
    /// How many root keys have to sign
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    root_threshold: u32,
    /// How many targets keys have to sign
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    targets_threshold: u32,
    /// The update server whose snapshot and timestamp keys count
    #[arg(long, value_name = "URL", env = "EVENKEEL_SERVER", conflicts_with = "online_keys")]
    server: Option<String>,
    /// The file with the operator's token for that server
    #[arg(long, value_name = "FILE", env = "EVENKEEL_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// A file with the server's answer to GET /api/online-keys, instead of asking it
    #[arg(long, value_name = "FILE")]
    online_keys: Option<PathBuf>,
    /// The root metadata that this one follows; its online keys stay if no others are given
    #[arg(long, value_name = "FILE")]
    previous: Option<PathBuf>,
    /// Days until it expires
    #[arg(long, value_name = "DAYS", default_value_t = limits::ROOT_LIFETIME.as_secs() / DAY)]
    days: u64,
    /// The file to write, such as metadata/root.json; a copy goes beside it as VERSION.root.json
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Seconds of a day.
const DAY: u64 = 86_400;

#[derive(Debug, Args)]
struct Sign {
    /// The metadata file, such as root.json or targets.json
    file: PathBuf,
    /// The key to sign with
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

/// # Errors
/// When a key or a file is not what it should be, cannot be read, or cannot be written.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    match arguments.task {
        Task::New(arguments) => new(&arguments),
        Task::Show(arguments) => show(&arguments),
        Task::Root(arguments) => new_root(&arguments),
        Task::Sign(arguments) => sign(&arguments),
    }
}

fn new(arguments: &New) -> Result<()> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("the system gives no random bytes")?;
    let file = KeyFile { role: arguments.role.name(), key: SigningKey::from_seed(&seed) };
    files::write_secret(&arguments.out, file.text().as_bytes())?;
    println!("{}: {} key {}", arguments.out.display(), file.role, file.key.public().id());
    println!("It is not encrypted: keep it off the network, and keep a copy.");
    Ok(())
}

fn show(arguments: &Show) -> Result<()> {
    let key = Key::read(&arguments.file)?;
    if arguments.public {
        print!("{}", key.public().to_value().text());
    } else {
        let kind = match &key {
            Key::Secret(file) => format!("{} key", file.role),
            Key::Public(_) => "public key".to_string(),
        };
        println!("{}: {kind} {}", arguments.file.display(), key.public().id());
    }
    Ok(())
}

/// A key from a file: one that can sign, or one that only counts.
pub(crate) enum Key {
    /// With its seed.
    Secret(Box<KeyFile>),
    /// Without.
    Public(Box<PublicKey>),
}

impl Key {
    /// Reads a key file or a public key.
    ///
    /// # Errors
    /// When it cannot be read, is neither, or holds a secret that others may read.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let context = || path.display().to_string();
        let bytes = files::read(path, KEY_FILE)?;
        let value = Value::parse(&bytes).ok();
        if value.as_ref().and_then(Value::as_object).is_some_and(|object| object.contains_key("keyval")) {
            let key = PublicKey::from_value(&value.unwrap_or(Value::Null)).with_context(context)?;
            return Ok(Self::Public(Box::new(key)));
        }
        let bytes = files::read_secret(path, KEY_FILE)?;
        KeyFile::parse(&bytes).map(|file| Self::Secret(Box::new(file))).with_context(context)
    }

    /// The public half.
    pub(crate) fn public(&self) -> &PublicKey {
        match self {
            Self::Secret(file) => file.key.public(),
            Self::Public(key) => key,
        }
    }

    fn secret(&self) -> Option<&SigningKey> {
        match self {
            Self::Secret(file) => Some(&file.key),
            Self::Public(_) => None,
        }
    }
}

/// Reads the keys of one role; a key that was made for another is refused.
fn read_keys(paths: &[PathBuf], role: RoleName) -> Result<Vec<Key>> {
    paths
        .iter()
        .map(|path| match Key::read(path)? {
            Key::Secret(file) if file.role != role => {
                let (path, made_for) = (path.display(), file.role);
                bail!("{path} is a {made_for} key, and a {role} key is needed; make one with `evenkeel key new --role {role}`")
            }
            key => Ok(key),
        })
        .collect()
}

/// Reads a key to sign as `role` with.
///
/// # Errors
/// When it cannot be read, or is no key of this role that can sign.
pub(crate) fn read_signing_key(path: &Path, role: RoleName) -> Result<SigningKey> {
    match read_keys(&[path.to_path_buf()], role)?.pop() {
        Some(Key::Secret(file)) => Ok(file.key),
        Some(Key::Public(_)) | None => {
            bail!("{} is a public key, which cannot sign; give the key file itself", path.display())
        }
    }
}

fn new_root(arguments: &NewRoot) -> Result<()> {
    let previous = arguments.previous.as_deref().map(read_root).transpose()?;
    let root_keys = read_keys(&arguments.root_key, RoleName::Root)?;
    let targets_keys = read_keys(&arguments.targets_key, RoleName::Targets)?;
    let online = online_keys(arguments, previous.as_deref())?;
    let header = Header {
        version: previous.as_ref().map_or(1, |root| root.header.version + 1),
        expires: clock::now() + Duration::from_secs(arguments.days.saturating_mul(DAY)),
    };
    let public = |keys: &[Key]| keys.iter().map(|key| key.public().clone()).collect();
    let root = Root::new(header, |role| match role {
        RoleName::Root => (public(&root_keys), arguments.root_threshold),
        RoleName::Targets => (public(&targets_keys), arguments.targets_threshold),
        RoleName::Snapshot => (vec![online.snapshot.clone()], 1),
        RoleName::Timestamp => (vec![online.timestamp.clone()], 1),
    });
    check_thresholds(&root)?;
    let mut draft = Draft::new(&root)?;
    root_keys.iter().filter_map(Key::secret).for_each(|key| draft.sign(key));
    write_root(&arguments.out, header.version, &draft.to_bytes())?;
    println!(
        "{}: root metadata version {}, expires {}",
        arguments.out.display(),
        header.version,
        header.expires
    );
    let complete = match &previous {
        Some(previous) => previous.next(&draft.to_bytes()),
        None => Verified::anchor(&draft.to_bytes()),
    };
    report(&arguments.out, complete.map(drop))
}

/// Thresholds that can never be reached are refused before anything is written.
fn check_thresholds(root: &Root) -> Result<()> {
    for role in RoleName::ALL {
        let keys = root.role(role);
        if u64::from(keys.threshold) > keys.keys.len() as u64 {
            bail!(
                "the {role} threshold is {}, but there are {} distinct {role} keys; give more keys or a lower threshold",
                keys.threshold,
                keys.keys.len()
            );
        }
    }
    Ok(())
}

fn read_root(path: &Path) -> Result<Verified<Root>> {
    let bytes = files::read(path, limits::ROOT)?;
    Verified::anchor(&bytes).with_context(|| path.display().to_string())
}

/// The server's keys: from itself, from a file, or from the root before.
fn online_keys(arguments: &NewRoot, previous: Option<&Root>) -> Result<OnlineKeys> {
    if let Some(path) = &arguments.online_keys {
        let bytes = files::read(path, KEY_FILE)?;
        return OnlineKeys::parse(&bytes).with_context(|| path.display().to_string());
    }
    if let Some(url) = &arguments.server {
        return ask_online_keys(url, arguments.token_file.as_deref());
    }
    let kept = previous.and_then(|root| {
        let only = |role| root.role(role).keys.first().and_then(|id| root.keys.get(id)).cloned();
        Some(OnlineKeys { snapshot: only(RoleName::Snapshot)?, timestamp: only(RoleName::Timestamp)? })
    });
    kept.context("whose snapshots and timestamps count is not said; give --server URL, --online-keys FILE or --previous FILE")
}

fn ask_online_keys(url: &str, token_file: Option<&Path>) -> Result<OnlineKeys> {
    let server = Server::open(url, token_file)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(server.fetch("/api/online-keys"))?;
    let answer =
        answer.with_context(|| format!("{url} has no online keys; is it an Evenkeel update server?"))?;
    OnlineKeys::parse(&answer).with_context(|| format!("the online keys of {url}"))
}

/// Writes root metadata, and its copy under the versioned name that a server needs of every root.
fn write_root(path: &Path, version: u64, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    files::replace(&path.with_file_name(format!("{version}.root.json")), bytes)?;
    files::replace(path, bytes)
}

/// Says whether the file is complete; a missing signature is no failure, for others may sign later.
pub(crate) fn report(path: &Path, complete: Result<(), TrustError>) -> Result<()> {
    match complete {
        Ok(()) => {
            println!("All signatures are there.");
            Ok(())
        }
        Err(error @ TrustError::Threshold { .. }) => {
            println!("Signatures are missing: {error}.");
            println!("Add one with: evenkeel key sign {} --key FILE", path.display());
            Ok(())
        }
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

fn sign(arguments: &Sign) -> Result<()> {
    let path = &arguments.file;
    let Key::Secret(file) = Key::read(&arguments.key)? else {
        bail!("{} is a public key, which cannot sign; give the key file itself", arguments.key.display())
    };
    let KeyFile { role, key } = *file;
    let bytes = files::read(path, role.limit())?;
    let mut draft = Draft::read(role, &bytes).with_context(|| path.display().to_string())?;
    match role {
        RoleName::Root => {
            let root: Root = draft.contents().with_context(|| path.display().to_string())?;
            draft.sign(&key);
            write_root(path, root.header.version, &draft.to_bytes())?;
            println!("{}: signed with {}", path.display(), key.public().id());
            report(path, Verified::anchor(&draft.to_bytes()).map(drop))
        }
        RoleName::Targets => {
            let _: Targets = draft.contents().with_context(|| path.display().to_string())?;
            let root = read_root(&path.with_file_name("root.json"))?;
            check_may_sign(&root, &key)?;
            draft.sign(&key);
            files::replace(path, &draft.to_bytes())?;
            println!("{}: signed with {}", path.display(), key.public().id());
            report(path, root.verify::<Targets>(&draft.to_bytes()).map(drop))
        }
        RoleName::Snapshot | RoleName::Timestamp => {
            bail!("{role} metadata is signed by the update server; give a root or targets key")
        }
    }
}

/// Refuses a targets key that the root does not name: its signature would count for nothing.
///
/// # Errors
/// When it is not named.
pub(crate) fn check_may_sign(root: &Root, key: &SigningKey) -> Result<()> {
    let id = key.public().id();
    if root.targets.keys.contains(&id) {
        return Ok(());
    }
    bail!(
        "key {id} is not among the targets keys of root version {}; use one that is, or name it with `evenkeel key root`",
        root.header.version
    )
}
