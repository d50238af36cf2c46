//! The first installation: a release into slot a, as flashing does it on a real box.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::Args;
use evenkeel_boot::EntryName;
use evenkeel_units::{Slot, Version};
use flate2::read::MultiGzDecoder;

use crate::layout::Layout;

/// Room of a root image's file beyond the first release: the next ones grow.
const ROOM_FACTOR: u64 = 2;

/// Least room of an image's file.
const LEAST_ROOM: u64 = 64 * 1024 * 1024;

/// What to install, and what the box is told about its surroundings.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Folder of the box; made if it is not there.
    #[arg(long)]
    dir: PathBuf,
    /// Version of the first release.
    #[arg(long, default_value = "1.0.0")]
    version: Version,
    /// Bundle of the first release.
    #[arg(long, conflicts_with_all = ["root_image", "verity_image", "uki"])]
    bundle: Option<PathBuf>,
    /// Root image of the first release.
    #[arg(long, requires_all = ["verity_image", "uki"])]
    root_image: Option<PathBuf>,
    /// Hash tree of the root image.
    #[arg(long)]
    verity_image: Option<PathBuf>,
    /// Kernel image: a text with `evenkeel.version=` and `evenkeel.root_hash=`.
    #[arg(long)]
    uki: Option<PathBuf>,
    /// Update server, for agent.toml, which is written unless it is there.
    #[arg(long, default_value = "http://127.0.0.1:9930")]
    server: String,
    /// A page that the health gate asks for through the data plane.
    #[arg(long, default_value = "http://127.0.0.1:8080/")]
    site: String,
    /// The data plane's admin listener.
    #[arg(long, default_value = "http://127.0.0.1:9900")]
    admin: String,
    /// Longest time that a release may take to prove itself.
    #[arg(long, default_value = "30s")]
    gate_deadline: String,
    /// From one look of the health gate to the next.
    #[arg(long, default_value = "500ms")]
    gate_interval: String,
}

pub(crate) fn init(args: &Init) -> anyhow::Result<()> {
    fs::create_dir_all(&args.dir).with_context(|| format!("cannot make {}", args.dir.display()))?;
    let directory = args.dir.canonicalize()?;
    let layout = Layout::new(&directory);
    for path in [layout.efi().join("EFI/Linux"), layout.data(), layout.run()] {
        fs::create_dir_all(path)?;
    }
    let kernel = layout.places().esp.path_of(EntryName::kept(args.version));
    match (&args.bundle, &args.root_image, &args.verity_image, &args.uki) {
        (Some(bundle), ..) => from_bundle(&layout, bundle, &kernel)?,
        (None, Some(root), Some(verity), Some(uki)) => {
            let paths = layout.places().a;
            place(File::open(root).with_context(|| root.display().to_string())?, &paths.root, ROOM_FACTOR)?;
            place(
                File::open(verity).with_context(|| verity.display().to_string())?,
                &paths.verity,
                ROOM_FACTOR,
            )?;
            fs::copy(uki, &kernel).with_context(|| uki.display().to_string())?;
        }
        _ => bail!("give --bundle, or --root-image with --verity-image and --uki"),
    }
    make_second_slot(&layout)?;
    if !layout.agent_config().exists() {
        fs::write(layout.agent_config(), agent_config(&layout, args))?;
    }
    println!("release {} is installed in slot a of {}", args.version, directory.display());
    Ok(())
}

fn from_bundle(layout: &Layout, bundle: &Path, kernel: &Path) -> anyhow::Result<()> {
    let paths = layout.places().a;
    let file = File::open(bundle).with_context(|| bundle.display().to_string())?;
    let mut archive = tar::Archive::new(MultiGzDecoder::new(io::BufReader::new(file)));
    let mut found = 0;
    for member in archive.entries()? {
        let member = member.with_context(|| format!("{} is not a bundle", bundle.display()))?;
        match member.path()?.to_str() {
            Some("root.img") => place(member, &paths.root, ROOM_FACTOR)?,
            Some("verity.img") => place(member, &paths.verity, ROOM_FACTOR)?,
            Some("uki.efi") => place(member, kernel, 0)?,
            Some(_) | None => continue,
        }
        found += 1;
    }
    if found != 3 {
        bail!("{} holds {found} of the images root.img, verity.img and uki.efi", bundle.display());
    }
    Ok(())
}

/// Writes an image to its place, whose file gets `room` times its length if that is not 0.
fn place(mut image: impl io::Read, path: &Path, room: u64) -> anyhow::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = File::create(path).with_context(|| path.display().to_string())?;
    let length = io::copy(&mut image, &mut file)?;
    if room > 0 {
        file.set_len((length * room).max(LEAST_ROOM))?;
    }
    file.flush()?;
    Ok(file.sync_all()?)
}

/// Slot b, empty and as large as slot a.
fn make_second_slot(layout: &Layout) -> anyhow::Result<()> {
    let places = layout.places();
    let (a, b) = (places.of(Slot::A), places.of(Slot::B));
    for (from, to) in [(&a.root, &b.root), (&a.verity, &b.verity)] {
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        File::create(to)?.set_len(fs::metadata(from)?.len())?;
    }
    Ok(())
}

fn agent_config(layout: &Layout, args: &Init) -> String {
    let places = layout.places();
    let show = |path: PathBuf| path.display().to_string();
    let Init { server, site, admin, gate_deadline, gate_interval, .. } = args;
    format!(
        r#"[device]
hardware = "x86_64"
channel = "stable"
data_dir = "{data}"

[server]
url = "{server}"
root = "{trusted_root}"
enrolment_token_file = "{token}"

[slots.a]
root = "{root_a}"
verity = "{verity_a}"

[slots.b]
root = "{root_b}"
verity = "{verity_b}"

[boot]
esp = "{efi}"
record = "{record}"

[restart]
method = "exit"

[gate]
proxy_admin = "{admin}"
site = "{site}"
deadline = "{gate_deadline}"
interval = "{gate_interval}"

[control]
socket = "{socket}"
"#,
        data = show(layout.data()),
        trusted_root = show(layout.root().join("usr/share/evenkeel/root.json")),
        token = show(layout.enrolment_token()),
        root_a = show(places.a.root.clone()),
        verity_a = show(places.a.verity.clone()),
        root_b = show(places.b.root.clone()),
        verity_b = show(places.b.verity.clone()),
        efi = show(layout.efi()),
        record = show(layout.boot_record()),
        socket = show(layout.agent_socket()),
    )
}
