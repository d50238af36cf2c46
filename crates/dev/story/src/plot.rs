//! The plot: what happens to the box, step by step, and what must be observed before the next step.
//!
//! A step that is not observed within its deadline ends the story with an error; nothing is told that was not seen.

use std::{
    fs, mem,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::{
    box_under_story::{Addresses, BoxUnderStory, DataPlane},
    http,
    interrupt::Interrupt,
    operator::Operator,
    process::{Process, tail},
    progress::{Progress, Seen},
    reports::{Device, only_device},
    traffic::Traffic,
    web::WebServers,
};

/// Longest that firmware, loader, kernel and services may take under software emulation on a busy machine.
///
/// 42 s measured on two shared cores, four times over.
const BOOT: Duration = Duration::from_secs(180);

/// Longest from an assignment to its release being staged: 39 s measured for 70 MiB on two shared cores, three times over.
const STAGE: Duration = Duration::from_secs(120);

/// Longest from a restart to a verdict: one boot, and the health gate's own deadline of 140 s.
const VERDICT: Duration = Duration::from_secs(320);

/// Longest for an answer of a program that is up.
const PROMPT: Duration = Duration::from_secs(20);

/// Answered visits that show how traffic is balanced.
const SAMPLE: u32 = 60;

/// What may be made to go wrong, so that it is seen that the story does not tell what did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Sabotage {
    /// Release 1.1.0 answers 500 too: it must not be told as kept.
    GoodRelease,
    /// Release 1.2.0 is sound: it must not be told as rolled back.
    BadRelease,
}

/// The cast of one story.
pub(crate) struct Plot {
    bin_dir: PathBuf,
    dir: PathBuf,
    addresses: Addresses,
    subject: Box<dyn BoxUnderStory>,
    progress: Progress,
    sabotage: Option<Sabotage>,
    power_cut: bool,
}

/// What every step looks at, once the box is up.
struct Scene<'a> {
    operator: &'a Operator,
    trusted_root: &'a Path,
    device: &'a str,
    traffic: &'a Traffic,
}

/// What goes on running after the story; dropped in the order of the fields.
pub(crate) struct Ended {
    _subject: Box<dyn BoxUnderStory>,
    _server: Process,
    _web: WebServers,
}

impl Plot {
    /// A story in `dir` about `subject`.
    pub(crate) fn new(
        bin_dir: &Path,
        dir: &Path,
        addresses: Addresses,
        subject: Box<dyn BoxUnderStory>,
        interrupt: Interrupt,
    ) -> Self {
        let (bin_dir, dir) = (bin_dir.to_owned(), dir.to_owned());
        Self {
            bin_dir,
            dir,
            addresses,
            subject,
            progress: Progress::begin(interrupt),
            sabotage: None,
            power_cut: false,
        }
    }

    /// Makes something go wrong.
    pub(crate) fn with_sabotage(self, sabotage: Option<Sabotage>) -> Self {
        Self { sabotage, ..self }
    }

    /// Takes the power away in the middle of staging release 1.1.0.
    pub(crate) fn with_power_cut(self, power_cut: bool) -> Self {
        Self { power_cut, ..self }
    }

    /// Tells the whole story.
    ///
    /// # Errors
    /// The first step that was not observed, with what was seen instead and the end of the box's console.
    pub(crate) fn tell(mut self) -> Result<Ended> {
        match self.acts() {
            Ok((server, web)) => Ok(Ended { _subject: self.subject, _server: server, _web: web }),
            Err(error) => {
                Err(error.context(format!("the end of the box's console:\n{}", tail(self.subject.console()))))
            }
        }
    }

    fn acts(&mut self) -> Result<(Process, WebServers)> {
        let host = crate::box_under_story::LOOPBACK;
        let ports = self.addresses.web_ports.clone();
        let web = WebServers::start(&self.dir.join("web"), host, &ports, &mut self.progress)?;
        let server = self.start_update_server()?;
        let token_file = self.dir.join("update-server/operator-token");
        let operator = Operator::new(
            &self.bin_dir,
            self.dir.join("operator"),
            self.addresses.update_server,
            token_file,
        )?;
        let trusted_root = operator.make_root_of_trust()?;
        self.progress.observed("root of trust", "root and targets keys made, root metadata signed");
        let device = self.first_boot(&operator, &trusted_root)?;
        let traffic = Traffic::start(self.addresses.site);
        self.balanced(&traffic)?;
        let scene =
            Scene { operator: &operator, trusted_root: &trusted_root, device: &device, traffic: &traffic };
        self.good_release(&scene)?;
        self.bad_release(&scene)?;
        Ok((server, web))
    }

    fn start_update_server(&mut self) -> Result<Process> {
        let (address, data) = (self.addresses.update_server, self.dir.join("update-server"));
        let log = self.dir.join("update-server.log");
        let mut command = Command::new(self.bin_dir.join("evenkeel-update-server"));
        command.arg("--data-dir").arg(data).arg("--listen").arg(address.to_string());
        let mut server = Process::start("the update server", &mut command, &log)?;
        self.progress.wait("update server", PROMPT, || {
            server.still_runs(&log)?;
            Ok(match http::get(address, "/ready") {
                Ok(answer) if answer.status == 200 => Seen::Yes((), format!("ready on http://{address}/")),
                Ok(answer) => Seen::NotYet(format!("/ready answers {}", answer.status)),
                Err(error) => Seen::NotYet(format!("{error:#}")),
            })
        })?;
        Ok(server)
    }

    fn first_boot(&mut self, operator: &Operator, trusted_root: &Path) -> Result<String> {
        let images = self.subject.images("1.0.0", trusted_root, DataPlane::Sound)?;
        let bytes = fs::metadata(&images.root)?.len();
        self.progress.observed("release 1.0.0 built", &format!("root image of {} KiB", bytes / 1024));
        self.subject.install("1.0.0", &images, &operator.enrolment_token()?)?;
        self.switch_on()?;
        let subject = &mut self.subject;
        self.progress.wait("box enrolled", BOOT, || {
            subject.still_on()?;
            let Some(id) = only_device(&operator.devices()?)? else {
                return Ok(Seen::NotYet("no device".to_owned()));
            };
            let running = Device(operator.device(&id)?).running_version().to_owned();
            let evidence = format!("device {id} runs {running}");
            Ok(if running == "1.0.0" { Seen::Yes(id, evidence) } else { Seen::NotYet(evidence) })
        })
    }

    /// Every server must answer its part of a sample of visits without one failure.
    fn balanced(&mut self, traffic: &Traffic) -> Result<()> {
        traffic.take();
        self.progress.wait("balanced traffic", PROMPT, || {
            let seen = traffic.look();
            ensure!(seen.bad() == 0, "visits failed while nothing was wrong: {seen:?}");
            let shares: Vec<String> =
                seen.answered.iter().map(|(name, count)| format!("{name} {count}")).collect();
            let evidence =
                format!("{} of {} visits answered: {}", seen.good(), seen.good(), shares.join(", "));
            let fair = seen.answered.len() == 3 && seen.answered.values().all(|&count| count >= SAMPLE / 5);
            Ok(if seen.good() >= SAMPLE && fair { Seen::Yes((), evidence) } else { Seen::NotYet(evidence) })
        })
    }

    fn good_release(&mut self, scene: &Scene<'_>) -> Result<()> {
        let sabotaged = self.sabotage == Some(Sabotage::GoodRelease);
        let data_plane = if sabotaged { DataPlane::Answers500 } else { DataPlane::Sound };
        let ends = ["rolled_back", "refused"];
        self.bring_to_trial(scene, "1.1.0", data_plane, &ends)?;
        self.reported(scene, "1.1.0", ("kept", "kept", VERDICT), &ends)?;
        self.runs(scene, "1.1.0")?;
        self.serves_again(scene.traffic)
    }

    fn bad_release(&mut self, scene: &Scene<'_>) -> Result<()> {
        let sabotaged = self.sabotage == Some(Sabotage::BadRelease);
        let data_plane = if sabotaged { DataPlane::Sound } else { DataPlane::Answers500 };
        let ends = ["kept", "refused"];
        let rollout = self.bring_to_trial(scene, "1.2.0", data_plane, &ends)?;
        let step = self.reported(scene, "1.2.0", ("rolled back", "rolled_back", VERDICT + BOOT), &ends)?;
        let reason = step["reason"].as_str().unwrap_or_default();
        ensure!(!reason.is_empty(), "the box rolled back without a reason");
        self.runs(scene, "1.1.0")?;
        self.serves_again(scene.traffic)?;
        self.balanced(scene.traffic)?;
        self.progress.wait("rollout halted", PROMPT, || {
            let rollout = scene.operator.rollout(&rollout)?;
            let state = &rollout["rollout"]["state"];
            let shown = format!("{}: {}", state["is"], state["reason"]);
            Ok(if state["is"] == "halted" { Seen::Yes((), shown) } else { Seen::NotYet(rollout.to_string()) })
        })
    }

    /// Pushes a release and sees it staged and restarted into; gives the rollout's id. The first one may lose power.
    fn bring_to_trial(
        &mut self,
        scene: &Scene<'_>,
        release: &str,
        data_plane: DataPlane,
        ends: &[&str],
    ) -> Result<String> {
        let rollout = self.push(scene, release, data_plane)?;
        scene.traffic.take();
        if mem::take(&mut self.power_cut) {
            self.cut_power_while_staging(scene, release)?;
        }
        self.reported(scene, release, ("staged", "staged", STAGE), ends)?;
        self.reported(scene, release, ("restarted", "trial_started", VERDICT), ends)?;
        Ok(rollout)
    }

    /// Builds, signs and publishes a release and starts its rollout; gives the rollout's id.
    fn push(&mut self, scene: &Scene<'_>, version: &str, data_plane: DataPlane) -> Result<String> {
        let images = self.subject.images(version, scene.trusted_root, data_plane)?;
        let notes = match data_plane {
            DataPlane::Sound => "A sound release.",
            DataPlane::Answers500 => "Its data plane answers 500 to every request.",
        };
        let bytes = scene.operator.release(version, &images, notes)?;
        let rollout = scene.operator.start_rollout(version)?;
        let evidence =
            format!("bundle of {} KiB signed and published, rollout {rollout} started", bytes / 1024);
        self.progress.observed(&format!("release {version} pushed"), &evidence);
        Ok(rollout)
    }

    /// Waits until the box has reported a step.
    fn reported(
        &mut self,
        scene: &Scene<'_>,
        release: &str,
        (told, kind, deadline): (&str, &str, Duration),
        ends: &[&str],
    ) -> Result<Value> {
        let subject = &mut self.subject;
        self.progress.wait(told, deadline, || {
            subject.still_on()?;
            Device(scene.operator.device(scene.device)?).look_for(release, kind, ends)
        })
    }

    fn runs(&mut self, scene: &Scene<'_>, version: &str) -> Result<()> {
        self.progress.wait("running release", PROMPT, || {
            let device = Device(scene.operator.device(scene.device)?);
            let evidence = format!("{} from slot {}", device.running_version(), device.running_slot());
            Ok(if device.running_version() == version {
                Seen::Yes((), evidence)
            } else {
                Seen::NotYet(evidence)
            })
        })
    }

    /// Tells what visitors saw of the restarts, once the site answers again.
    fn serves_again(&mut self, traffic: &Traffic) -> Result<()> {
        let site = self.addresses.site;
        let before = traffic.look().good();
        self.progress.wait("site serves", PROMPT, || {
            let seen = traffic.look();
            let evidence = format!(
                "http://{site}/ answers; since the push {} visits answered, {} not, away for {:.1} s",
                seen.good(),
                seen.bad(),
                seen.longest_outage.as_secs_f64()
            );
            Ok(if seen.good() > before { Seen::Yes((), evidence) } else { Seen::NotYet(evidence) })
        })
    }

    fn cut_power_while_staging(&mut self, scene: &Scene<'_>, release: &str) -> Result<()> {
        self.progress.wait("staging", STAGE, || {
            let detail = Device(scene.operator.device(scene.device)?);
            ensure!(
                detail.step(release, "staged").is_none(),
                "staging was over before the power could be cut"
            );
            let step = detail.step(release, "staging");
            let done = step.and_then(|step| step["done"].as_u64()).filter(|&done| done > 0);
            Ok(match (done, step) {
                (Some(_), Some(step)) => {
                    Seen::Yes((), format!("{} of {} bytes written", step["done"], step["total"]))
                }
                (None | Some(_), None | Some(_)) => Seen::NotYet("nothing written yet".to_owned()),
            })
        })?;
        self.subject.cut_power()?;
        self.progress.observed("power cut", "the box was killed in the middle of staging");
        self.switch_on()
    }

    /// Switches the box on and waits until its site answers.
    fn switch_on(&mut self) -> Result<()> {
        self.subject.switch_on()?;
        let (site, subject) = (self.addresses.site, &mut self.subject);
        self.progress.wait("box switched on", BOOT, || {
            subject.still_on()?;
            Ok(match http::get(site, "/") {
                Ok(answer) if answer.status == 200 => Seen::Yes((), format!("http://{site}/ answers")),
                Ok(answer) => Seen::NotYet(format!("status {}", answer.status)),
                Err(error) => Seen::NotYet(format!("{error:#}")),
            })
        })
    }
}
