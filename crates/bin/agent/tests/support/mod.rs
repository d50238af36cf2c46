//! A box made of files, whose agent is the real binary, and the server that it talks to.
#![allow(dead_code, reason = "every test file uses its own part of it")]
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod server;

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command},
    time::{Duration, Instant},
};

use evenkeel_boot::{EntryName, Running};
use evenkeel_disk::{Esp, RESTART_STATUS, Storage};
use evenkeel_release::{
    ImageKind,
    verity::{BLOCK, Superblock, root_hash_of},
};
use evenkeel_sim::release::{Recipe, Sample};
use evenkeel_units::{Slot, Version};

pub(crate) use server::Server;

/// Longest that any test waits for the agent to end.
const DEADLINE: Duration = Duration::from_secs(60);

/// Pause between two looks at a process or a file that nobody tells us about.
const POLL: Duration = Duration::from_millis(5);

pub(crate) const OLD: Version = Version::new(1, 0, 0);
pub(crate) const NEW: Version = Version::new(1, 1, 0);

/// Blocks of the root images: with the hash tree and the kernel some 50 chunks, so three checkpoints.
pub(crate) const BLOCKS: u32 = 45;

/// A box as a folder, with release 1.0.0 in slot a.
pub(crate) struct TestBox {
    folder: tempfile::TempDir,
    pub(crate) old: Sample,
    agent: Option<Child>,
}

impl TestBox {
    pub(crate) fn new(server: &Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let old = Sample::make(&Recipe::of(OLD, BLOCKS));
        let this = Self { folder, old, agent: None };
        for path in ["slots/a", "slots/b", "efi/EFI/Linux", "data", "run"] {
            fs::create_dir_all(this.path(path)).unwrap();
        }
        for (slot, kind, name) in [
            ("a", ImageKind::Root, "root"),
            ("a", ImageKind::Verity, "verity"),
            ("b", ImageKind::Root, "root"),
            ("b", ImageKind::Verity, "verity"),
        ] {
            let path = this.path(&format!("slots/{slot}/{name}.img"));
            fs::write(&path, if slot == "a" { this.old.image(kind) } else { &[] }).unwrap();
            File::options().write(true).open(path).unwrap().set_len(400_000).unwrap();
        }
        fs::write(this.esp().path_of(EntryName::kept(OLD)), this.old.image(ImageKind::Uki)).unwrap();
        fs::write(this.path("root.json"), server.state().repository.root()).unwrap();
        fs::write(this.path("token"), "the-token\n").unwrap();
        fs::write(this.path("agent.toml"), this.config(server)).unwrap();
        this
    }

    fn config(&self, server: &Server) -> String {
        let (dir, address) = (self.folder.path().display(), server.address);
        format!(
            "[device]\nhardware = \"x86_64\"\nchannel = \"stable\"\ndata_dir = \"{dir}/data\"\n\
             [server]\nurl = \"http://{address}\"\nroot = \"{dir}/root.json\"\n\
             enrolment_token_file = \"{dir}/token\"\n\
             [slots.a]\nroot = \"{dir}/slots/a/root.img\"\nverity = \"{dir}/slots/a/verity.img\"\n\
             [slots.b]\nroot = \"{dir}/slots/b/root.img\"\nverity = \"{dir}/slots/b/verity.img\"\n\
             [boot]\nesp = \"{dir}/efi\"\nrecord = \"{dir}/run/boot.json\"\n\
             [restart]\nmethod = \"exit\"\n\
             [gate]\nproxy_admin = \"http://{address}\"\nsite = \"http://{address}/site\"\n\
             deadline = \"5s\"\ninterval = \"100ms\"\n\
             [control]\nsocket = \"{dir}/run/agent.sock\"\n"
        )
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn esp(&self) -> Esp {
        Esp::new(&self.path("efi"))
    }

    /// The names of the boot entries, in the loader's order.
    pub(crate) fn entries(&self) -> Vec<String> {
        self.esp().entries().unwrap().as_slice().iter().map(ToString::to_string).collect()
    }

    /// Starts the box: the loader's choice, the slot that belongs to it, then the agent.
    pub(crate) fn start(&mut self) -> Running {
        let selection = self.esp().entries().unwrap().select().expect("a boot entry");
        if let Some(change) = selection.count {
            self.esp().change(change).unwrap();
        }
        let kernel = fs::read_to_string(self.esp().path_of(selection.start)).unwrap();
        let slot = Slot::BOTH
            .into_iter()
            .find(|slot| self.root_hash_in(*slot).is_some_and(|hash| kernel.contains(&hash)))
            .expect("a slot that belongs to the entry");
        let root_hash = self.root_hash_in(slot).unwrap().parse().unwrap();
        let running = Running { version: selection.start.version, slot, root_hash };
        fs::write(self.path("run/boot.json"), serde_json::to_vec(&running).unwrap()).unwrap();
        self.start_agent();
        running
    }

    fn root_hash_in(&self, slot: Slot) -> Option<String> {
        let verity = Storage::open_to_read(&self.path(&format!("slots/{slot}/verity.img"))).unwrap();
        let mut block = [0; BLOCK];
        verity.read_at(&mut block, 0).unwrap();
        let superblock = Superblock::parse(&block).ok()?;
        verity.read_at(&mut block, BLOCK as u64).unwrap();
        Some(root_hash_of(&superblock, &block).to_string())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel-agent"));
        command.arg("--config").arg(self.path("agent.toml"));
        command
    }

    pub(crate) fn start_agent(&mut self) {
        assert!(self.agent.is_none(), "one agent at a time");
        let log = File::options().create(true).append(true).open(self.path("agent.log")).unwrap();
        self.agent = Some(self.command().stderr(log).spawn().unwrap());
    }

    /// Waits until the agent asks for a restart of the box.
    pub(crate) fn wait_restart(&mut self) {
        let mut agent = self.agent.take().expect("an agent");
        let end = Instant::now() + DEADLINE;
        let status = loop {
            if let Some(status) = agent.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "no restart; {}", self.log());
            std::thread::sleep(POLL);
        };
        assert_eq!(status.code(), Some(RESTART_STATUS.into()), "{}", self.log());
    }

    /// Asks the agent to end, and gives its exit code.
    pub(crate) fn stop_agent(&mut self) -> Option<i32> {
        let mut agent = self.agent.take().expect("an agent");
        let asked = Command::new("kill").args(["-TERM", &agent.id().to_string()]).status().unwrap();
        assert!(asked.success());
        agent.wait().unwrap().code()
    }

    /// Ends the agent as a loss of power does.
    pub(crate) fn kill_agent(&mut self) {
        let mut agent = self.agent.take().expect("an agent");
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    /// Starts `evenkeel-agent gate`, which may be before the agent itself.
    pub(crate) fn start_gate(&self) -> Child {
        self.command().arg("gate").spawn().unwrap()
    }

    /// The exit code of `evenkeel-agent gate`.
    pub(crate) fn gate(&self) -> Option<i32> {
        self.start_gate().wait().unwrap().code()
    }

    /// Waits until the agent's log has this text.
    pub(crate) fn wait_log(&self, text: &str) {
        let end = Instant::now() + DEADLINE;
        while !self.log().contains(text) {
            assert!(Instant::now() < end, "`{text}` is not logged");
            std::thread::sleep(POLL);
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("agent.log")).unwrap_or_default()
    }

    /// The bytes of an image in a slot, as many as the release has.
    pub(crate) fn image(&self, slot: Slot, kind: ImageKind, length: usize) -> Vec<u8> {
        let name = if kind == ImageKind::Root { "root" } else { "verity" };
        let mut bytes = fs::read(self.path(&format!("slots/{slot}/{name}.img"))).unwrap();
        bytes.truncate(length);
        bytes
    }

    /// Whether a slot holds a release, complete.
    pub(crate) fn holds(&self, slot: Slot, sample: &Sample) -> bool {
        [ImageKind::Root, ImageKind::Verity].into_iter().all(|kind| {
            let image = sample.image(kind);
            self.image(slot, kind, image.len()) == image
        })
    }
}

impl Drop for TestBox {
    fn drop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.kill();
            let _ = agent.wait();
        }
        if std::thread::panicking() {
            eprintln!("the agent's log:\n{}", self.log());
        }
    }
}
