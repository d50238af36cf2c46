//! Doing what the machine asks for: each effect becomes calls to storage, network and gate, and its answer an input.
//!
//! Owns: what is open between effects (the bundle, the slot being written). Makes no decision: whether to
//! try again, and when, is the machine's.

use std::{fs, path::Path, time::Duration};

use anyhow::Context as _;
use evenkeel_boot::{InactiveSlot, Running};
use evenkeel_config::agent::{Config, Restart, SlotImages};
use evenkeel_disk::{
    Error as DiskError, Esp, MetadataFiles, Places, SlotPaths, SlotReader, SlotWriter, StateFiles,
    restart_by_systemd,
};
use evenkeel_fetch::{Bundle, Client, Error as FetchError, Refreshed, chain, refresh};
use evenkeel_protocol::Assignment;
use evenkeel_release::{
    ChunkVerifier, Head, LocalChunk, PlannedChunk, ReleaseTarget, Source, VerifiedChunk, reuse_plan,
};
use evenkeel_trust::{TargetName, TrustedSet};
use evenkeel_units::Label;
use evenkeel_update::{Effect, Failure, FailureKind, Input, Offer, Record, Release};
use tokio::{
    sync::mpsc,
    task::{JoinError, spawn_blocking},
};

use crate::{clock, looks::Looker};

/// Longest wait for systemd to end this process after it agreed to restart the box.
const RESTART: Duration = Duration::from_secs(180);

/// What a restart by exit status looks like from the daemon.
pub(crate) struct Leave;

/// Everything that effects need.
pub(crate) struct Shell {
    client: Client,
    looker: Looker,
    restart: Restart,
    leave: mpsc::Sender<Leave>,
    disk: Option<Disk>,
    target: Option<ReleaseTarget>,
    opened: Option<Opened>,
}

/// The bundle that is being staged.
struct Opened {
    bundle: Bundle,
    plan: Vec<PlannedChunk>,
}

/// The half that blocks: it goes to a thread of its own for every call.
struct Disk {
    places: Places,
    running: Running,
    state: StateFiles,
    metadata: MetadataFiles,
    /// The trusted root that came with the running release.
    image_root: Vec<u8>,
    writer: Option<SlotWriter>,
    reader: Option<SlotReader>,
}

impl Shell {
    /// Opens everything, and reads what was remembered.
    pub(crate) fn open(
        config: &Config,
        running: Running,
        leave: mpsc::Sender<Leave>,
    ) -> anyhow::Result<(Self, Option<Record>)> {
        let data = Path::new(config.device.data_dir.as_str());
        fs::create_dir_all(data).with_context(|| format!("cannot make {}", data.display()))?;
        let (state, record) = StateFiles::open(data)?;
        let root = config.server.root.as_str();
        let image_root = fs::read(root)
            .with_context(|| format!("cannot read {root}; the release has to bring its trusted root"))?;
        let disk = Disk {
            places: places(config),
            running,
            state,
            metadata: MetadataFiles::open(&data.join("metadata"))?,
            image_root,
            writer: None,
            reader: None,
        };
        let shell = Self {
            client: Client::new(&config.server.url.to_string()),
            looker: Looker::new(config),
            restart: config.restart,
            leave,
            disk: Some(disk),
            target: None,
            opened: None,
        };
        Ok((shell, record))
    }

    /// Does effect after effect, and answers each.
    pub(crate) async fn serve(mut self, mut effects: mpsc::Receiver<Effect>, inputs: mpsc::Sender<Input>) {
        while let Some(effect) = effects.recv().await {
            let input = self.perform(effect).await.unwrap_or_else(Input::Failed);
            if inputs.send(input).await.is_err() {
                return;
            }
        }
    }

    async fn perform(&mut self, effect: Effect) -> Result<Input, Failure> {
        match effect {
            Effect::Save(record) => self.on_disk(move |disk| disk.state.save(&record)).await?.done(),
            Effect::Verify(assignment) => self.verify(&assignment).await,
            Effect::Open { slot } => self.open_bundle(slot).await,
            Effect::Obtain { chunk } => self.obtain(chunk).await.map(Input::Obtained),
            Effect::Write { slot, chunk } => {
                self.on_disk(move |disk| disk.writer(slot)?.write(&chunk)).await?.done()
            }
            Effect::Flush { slot } => self.on_disk(move |disk| disk.writer(slot)?.flush()).await?.done(),
            Effect::ReadBack { slot } => {
                let head = self.opened()?.bundle.head().clone();
                self.on_disk(move |disk| disk.writer(slot)?.read_back(&head)).await?.done()
            }
            Effect::Measure => Ok(Input::Measured(self.looker.measure().await)),
            Effect::Install(entry) => self.on_disk(move |disk| disk.places.esp.install(entry)).await?.done(),
            Effect::Change(change) => self.on_disk(move |disk| disk.places.esp.change(change)).await?.done(),
            Effect::RunGate(baseline) => Ok(Input::Judged(self.looker.run_gate(baseline).await)),
            Effect::Restart => self.restart().await,
        }
    }

    /// Brings metadata up to date, keeps what was learned, and finds the assigned release.
    async fn verify(&mut self, assignment: &Assignment) -> Result<Input, Failure> {
        (self.target, self.opened) = (None, None);
        let loaded = self.on_disk(|disk| Ok((disk.image_root.clone(), disk.metadata.load()?))).await?;
        let (image_root, kept) = loaded;
        let trusted = TrustedSet::open(&image_root, &kept).map_err(|error| doubtful(&error))?;
        let Refreshed { trusted, current } = refresh(&self.client, trusted, clock::wall()).await;
        self.on_disk(move |disk| disk.metadata.store(&trusted.kept())).await?;
        let current = current.map_err(|error| transfer(&error))?;
        let name: TargetName = assignment.target.parse().map_err(|error| doubtful(&error))?;
        let target = current.target(&name).map_err(|error| transfer(&error.into()))?;
        let target = ReleaseTarget::of(target).map_err(|error| doubtful(&error))?;
        let text = |label: &Label| label.as_str().to_owned();
        let offer = Offer {
            version: target.version(),
            channels: target.channels().iter().map(text).collect(),
            hardware: target.hardware().iter().map(text).collect(),
        };
        self.target = Some(target);
        Ok(Input::Offered(offer))
    }

    /// Fetches the head, opens the slot, and plans which chunks the running slot has already.
    async fn open_bundle(&mut self, slot: InactiveSlot) -> Result<Input, Failure> {
        let target = self.target.as_ref().ok_or_else(lost)?;
        let sha256 = target.head_meta().sha256;
        let bundle = Bundle::open(self.client.clone(), target).await.map_err(|error| transfer(&error))?;
        let head = bundle.head().clone();
        let plan = self.on_disk(move |disk| disk.open_slot(slot, &head)).await?;
        let release = Release::of(bundle.head(), sha256);
        self.opened = Some(Opened { bundle, plan });
        Ok(Input::Opened(release))
    }

    /// Gets a chunk from the running slot if that has it, else from the server.
    async fn obtain(&mut self, chunk: u32) -> Result<VerifiedChunk, Failure> {
        let index = usize::try_from(chunk).unwrap_or(usize::MAX);
        let planned = *self.opened()?.plan.get(index).ok_or_else(lost)?;
        if let Source::Local(local) = planned.source {
            let lent = self.on_disk(move |disk| disk.lend(&local)).await?;
            let head = self.opened()?.bundle.head();
            if let Ok(chunk) = ChunkVerifier::check_local(head, planned.spec.id, lent) {
                return Ok(chunk);
            }
            tracing::warn!(chunk, "the running slot no longer has these bytes; fetches them");
        }
        let opened = self.opened.as_mut().ok_or_else(lost)?;
        let fetched = |planned: &&PlannedChunk| matches!(planned.source, Source::Fetch);
        let last = opened.plan[index..].iter().skip(1).take_while(fetched).last().unwrap_or(&planned);
        let run_end = last.spec.member_offset.0 + last.spec.member_length.0;
        opened.bundle.chunk(&planned.spec, run_end).await.map_err(|error| transfer(&error))
    }

    fn opened(&self) -> Result<&Opened, Failure> {
        self.opened.as_ref().ok_or_else(lost)
    }

    async fn restart(&self) -> Result<Input, Failure> {
        match self.restart {
            Restart::Exit => {
                let _ = self.leave.send(Leave).await;
                std::future::pending().await
            }
            Restart::Systemd => {
                spawn_blocking(restart_by_systemd)
                    .await
                    .map_err(|error| broken(&error))?
                    .map_err(|error| storage(&error))?;
                tokio::time::sleep(RESTART).await;
                let reason =
                    format!("the box did not restart within {} s; restart it by hand", RESTART.as_secs());
                Err(Failure { kind: FailureKind::Doubtful, reason })
            }
        }
    }

    /// Runs a call that blocks on a thread where it may.
    async fn on_disk<T: Send + 'static>(
        &mut self,
        call: impl FnOnce(&mut Disk) -> Result<T, DiskError> + Send + 'static,
    ) -> Result<T, Failure> {
        let mut disk = self.disk.take().ok_or_else(lost)?;
        let (disk, result) = spawn_blocking(move || {
            let result = call(&mut disk);
            (disk, result)
        })
        .await
        .map_err(|error| broken(&error))?;
        self.disk = Some(disk);
        result.map_err(|error| storage(&error))
    }
}

impl Disk {
    /// Opens the slot for the release and says where each chunk comes from.
    fn open_slot(&mut self, slot: InactiveSlot, head: &Head) -> Result<Vec<PlannedChunk>, DiskError> {
        self.writer = Some(SlotWriter::open(&self.places, slot, head)?);
        let local = self.lendable(head).unwrap_or_else(|error| {
            tracing::warn!(error = %chain(&error), "the running slot lends nothing");
            Vec::new()
        });
        Ok(reuse_plan(head, &local))
    }

    fn lendable(&mut self, head: &Head) -> Result<Vec<LocalChunk>, DiskError> {
        let reader = SlotReader::open(self.places.of(self.running.slot))?;
        let chunks = reader.chunks(head.index().chunk_size())?;
        self.reader = Some(reader);
        Ok(chunks)
    }

    fn lend(&self, chunk: &LocalChunk) -> Result<Vec<u8>, DiskError> {
        self.reader.as_ref().map_or_else(|| Ok(Vec::new()), |reader| reader.read(chunk))
    }

    fn writer(&self, slot: InactiveSlot) -> Result<&SlotWriter, DiskError> {
        let open = self.writer.as_ref().filter(|writer| writer.slot() == slot);
        open.ok_or_else(|| DiskError::NotOpened { slot: slot.slot() })
    }
}

/// The answer of an effect that has nothing to say.
trait Done {
    fn done(self) -> Result<Input, Failure>;
}

impl Done for () {
    fn done(self) -> Result<Input, Failure> {
        Ok(Input::Done)
    }
}

fn places(config: &Config) -> Places {
    let paths = |images: &SlotImages| SlotPaths {
        root: images.root.as_str().into(),
        verity: images.verity.as_str().into(),
    };
    let esp = Esp::new(Path::new(config.boot.esp.as_str()));
    Places { a: paths(&config.slots.a), b: paths(&config.slots.b), esp }
}

fn storage(error: &DiskError) -> Failure {
    let kind = if error.is_unfit() { FailureKind::Unfit } else { FailureKind::Doubtful };
    Failure { kind, reason: chain(error) }
}

fn transfer(error: &FetchError) -> Failure {
    let kind = if error.is_passing() { FailureKind::Passing } else { FailureKind::Doubtful };
    Failure { kind, reason: chain(error) }
}

fn doubtful(error: &dyn std::error::Error) -> Failure {
    Failure { kind: FailureKind::Doubtful, reason: chain(error) }
}

/// A thread panicked: a fault of ours, which a new attempt starts afresh.
fn broken(error: &JoinError) -> Failure {
    Failure { kind: FailureKind::Doubtful, reason: format!("the agent failed: {error}; report this fault") }
}

/// What an effect relies on is not open; the machine begins at the metadata again.
fn lost() -> Failure {
    let reason = "the agent lost track of the release it was staging; it begins again".into();
    Failure { kind: FailureKind::Passing, reason }
}
