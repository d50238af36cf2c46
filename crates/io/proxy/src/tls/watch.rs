//! Certificates that change on the disk while the data plane runs.
//!
//! Owns: noticing, and reading them again. Leaves to others: what they are (`files`), showing them (`names`). Invariant
//! I8: a new file that is of no use changes nothing but the log.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    admin::control::Running,
    plan::PlannedListener,
    tls::{
        files::{self, Look},
        front::Front,
        report,
    },
};

/// From one look at the files to the next: who renews a certificate sees the new one within ten seconds, and a look at a
/// file costs microseconds.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// From one warning of a certificate that ends to the next.
const WARNING_INTERVAL: Duration = Duration::from_secs(86_400);

/// A listener whose files are watched.
struct Watched {
    listener: String,
    front: Arc<Front>,
    seen: Vec<(PathBuf, Look)>,
    warned: Instant,
}

impl Watched {
    fn new(listener: &str, front: &Arc<Front>) -> Self {
        report::warn_of_expiry(listener, front);
        Self {
            listener: listener.to_owned(),
            front: Arc::clone(front),
            seen: front.files.clone(),
            warned: Instant::now(),
        }
    }

    fn look(&mut self, folder: &Path) {
        let now = self.seen.iter().map(|(path, _)| (path.clone(), files::look(path))).collect();
        // Read again, a response that has ended to hold is not shown any more.
        if now != self.seen || self.front.has_ended_staple(files::now()) {
            self.seen = now;
            match self.front.renew(folder) {
                Ok(()) => {
                    tracing::info!(listener = self.listener, "certificates were read again");
                    report::warn_of_expiry(&self.listener, &self.front);
                }
                Err(error) => tracing::error!(
                    listener = self.listener,
                    "new certificate files refused, the running ones stay: {}",
                    error.sentence()
                ),
            }
        }
        if self.warned.elapsed() >= WARNING_INTERVAL {
            self.warned = Instant::now();
            report::warn_of_expiry(&self.listener, &self.front);
        }
    }
}

/// Watches the files of the plan that runs, for ever; `config` is the configuration file.
pub(crate) async fn run(running: Arc<Running>, config: PathBuf) {
    let folder = config.parent().unwrap_or_else(|| Path::new("")).to_owned();
    let mut watched = Vec::new();
    loop {
        follow(&mut watched, &running.plan().listeners);
        watched.iter_mut().for_each(|watched| watched.look(&folder));
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Watches what listeners show now, and no more what those did that are gone.
fn follow(watched: &mut Vec<Watched>, listeners: &[PlannedListener]) {
    let shows = |front: &Arc<Front>| {
        listeners.iter().filter_map(|listener| listener.tls.as_ref()).any(|shown| Arc::ptr_eq(shown, front))
    };
    watched.retain(|watched| shows(&watched.front));
    for listener in listeners {
        let Some(front) = &listener.tls else { continue };
        if !watched.iter().any(|watched| Arc::ptr_eq(&watched.front, front)) {
            watched.push(Watched::new(&listener.shared.name, front));
        }
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_config::balancer::Config;

    use super::*;
    use crate::tls::front::Inside;

    fn write(folder: &Path) -> Vec<u8> {
        let pair = rcgen::KeyPair::generate().unwrap();
        let made =
            rcgen::CertificateParams::new(vec!["site".to_owned()]).unwrap().self_signed(&pair).unwrap();
        for (name, text) in [("site.pem", made.pem()), ("site.key", pair.serialize_pem())] {
            std::fs::write(folder.join("new"), text).unwrap();
            std::fs::rename(folder.join("new"), folder.join(name)).unwrap();
        }
        made.der().to_vec()
    }

    #[test]
    fn i8_a_new_certificate_is_shown_when_its_files_change_and_a_bad_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let first = write(folder);
        let config = Config::parse(
            "balancer.toml",
            "[[listener]]\nname=\"w\"\nbind=\"[::]:0\"\nmode=\"tcp\"\npool=\"p\"\n[listener.tls]\n\
             certificate=\"site.pem\"\nkey=\"site.key\"\n[[pool]]\nname=\"p\"\n[[pool.server]]\nname=\"s\"\n\
             address=\"10.0.0.1:80\"\n",
        );
        let config = config.unwrap();
        let settings = config.listeners()[0].tls.as_ref().unwrap();
        let front = Arc::new(Front::new((folder, "w"), settings, Inside::Bytes, None).unwrap());
        let shown = || front.certificates.table().certificates[0].key.cert[0].to_vec();
        let mut watched = Watched::new("w", &front);
        watched.look(folder);
        assert_eq!(shown(), first);
        let second = write(folder);
        watched.look(folder);
        assert_eq!(shown(), second);
        std::fs::write(folder.join("site.pem"), "half a fil").unwrap();
        watched.look(folder);
        assert_eq!(shown(), second, "what cannot be read changes nothing");
        let third = write(folder);
        watched.look(folder);
        assert_eq!(shown(), third, "and is no reason to stop looking");
    }
}
