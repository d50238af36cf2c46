//! Whether the files that a configuration names are there and fit, before it is applied.
//!
//! Owns: finding everything that is wrong with them, at once, each at the line that names the file. Leaves to others: what
//! a file must be; that is asked of the very code that reads it when the configuration is applied. Invariant: nothing is
//! written, bound or connected to.

use std::path::{Path, PathBuf};

use evenkeel_config::{
    FilePath, NamedFile,
    balancer::{CertificateFiles, Config, LogTarget, Verify},
};

use crate::{
    access_log,
    acme::storage,
    pool::sticky,
    route::plan,
    tls::{
        files::{self, Certificate, FileError},
        front,
    },
    trace,
};

/// Something that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProblem {
    /// The line of the configuration that names the file, counted from 1; 0 when no line does.
    pub line: usize,
    /// The whole way to the key, such as `listener[web].tls.certificate`.
    pub key: String,
    /// What is wrong, with the file's name and the remedy.
    pub sentence: String,
}

/// A file that is of no use.
pub(crate) struct Wrong {
    /// How the key begins that names the file, such as `pool[app].sticky.`.
    pub(crate) table: String,
    pub(crate) path: PathBuf,
    pub(crate) sentence: String,
}

/// Opens every file that `config`, read from the file at `path`, names: certificates, keys, OCSP responses, roots, tokens,
/// pages, secrets, users, and where the access log and what ACME gets are written. What it finds it finds as the user who
/// runs it, who may read other files than the data plane may.
///
/// It is stricter than the data plane where that makes do: a certificate that has expired or not begun and an OCSP response
/// that is not shown are problems too.
#[must_use]
pub fn check_files(path: &Path, config: &Config) -> Vec<FileProblem> {
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let mut check = Check { folder, config, problems: Vec::new() };
    check.access_log();
    check.listeners();
    check.pools();
    let tracing = config.tracing().map(|settings| trace::wrong_files(settings, folder));
    let others = sticky::wrong_files(config, folder).into_iter().chain(plan::wrong_files(config));
    for wrong in others.chain(tracing.into_iter().flatten()) {
        check.note((&wrong.table, ""), &wrong.path, wrong.sentence);
    }
    check.problems.sort_by(|one, other| (one.line, &one.sentence).cmp(&(other.line, &other.sentence)));
    check.problems.dedup();
    check.problems
}

struct Check<'a> {
    folder: &'a Path,
    config: &'a Config,
    problems: Vec<FileProblem>,
}

impl Check<'_> {
    fn access_log(&mut self) {
        let Some(target) = self.config.access_log().map(|log| &log.target) else { return };
        if let (LogTarget::File(path), Err(error)) = (target, access_log::check(target)) {
            let remedy = "does its folder exist, and may the data plane's user write there?";
            let sentence = format!("`{path}`: cannot be written to; {remedy}: {error}");
            self.note(("access_log.", "path"), Path::new(path.as_str()), sentence);
        }
    }

    fn listeners(&mut self) {
        let config = self.config;
        for listener in config.listeners() {
            let Some(tls) = &listener.tls else { continue };
            let table = format!("listener[{}].tls.", listener.name);
            for certificate in &tls.certificates {
                self.certificate(&table, certificate);
            }
            if let Some(client) = &tls.client {
                self.roots((&table, "client_ca"), &client.ca);
            }
            let Some(acme) = &tls.acme else { continue };
            let table = format!("{table}acme.");
            if let Some(ca) = &acme.ca {
                self.roots((&table, "ca"), ca);
            }
            if let Some(obstacle) = storage::obstacle(self.folder, acme) {
                let sentence =
                    format!("`{}`: `{}` is not a folder; name another", acme.storage, obstacle.display());
                self.note((&table, "storage"), &files::path(self.folder, &acme.storage), sentence);
            }
        }
    }

    fn pools(&mut self) {
        let config = self.config;
        for pool in config.pools() {
            let Some(tls) = &pool.tls else { continue };
            let table = format!("pool[{}].tls.", pool.name);
            match &tls.verify {
                Verify::Ca(ca) => self.roots((&table, "ca"), ca),
                Verify::System | Verify::Nothing => {}
            }
            if let Some(certificate) = &tls.certificate {
                self.certificate(&table, certificate);
            }
        }
    }

    fn roots(&mut self, place: (&str, &str), file: &FilePath) {
        self.tell(place, files::roots(&files::path(self.folder, file)).err());
    }

    fn certificate(&mut self, table: &str, told: &CertificateFiles) {
        let path = |file| files::path(self.folder, file);
        let (certificate, key, ocsp) =
            (path(&told.certificate), path(&told.key), told.ocsp.as_ref().map(path));
        // Each by itself first, so that one that is missing does not hide another.
        let alone = [
            ("certificate", files::chain(&certificate).err()),
            ("key", files::private_key(&key).err()),
            ("ocsp", ocsp.as_deref().and_then(|ocsp| files::ocsp_response(ocsp, &[]).err())),
        ];
        let whole = alone.iter().all(|(_, error)| error.is_none());
        for (key, error) in alone {
            self.tell((table, key), error);
        }
        if !whole {
            return;
        }
        match files::certificate(self.folder, told, &front::provider()) {
            Err(error) => self.tell((table, ""), Some(error)),
            Ok(found) => {
                self.tell((table, "certificate"), untimely(certificate, &found));
                let problem = found.staple.and_then(|staple| staple.state.problem());
                let wrong = ocsp.zip(problem).map(|(path, problem)| FileError::Staple(path, problem));
                self.tell((table, "ocsp"), wrong);
            }
        }
    }

    fn tell(&mut self, place: (&str, &str), error: Option<FileError>) {
        if let Some(error) = error {
            let path = error.path().map(Path::to_owned).unwrap_or_default();
            self.note(place, &path, error.sentence());
        }
    }

    /// Notes it at the line that names the file, by a key that begins and ends so.
    fn note(&mut self, (table, key): (&str, &str), path: &Path, sentence: String) {
        let is_it = |named: &&NamedFile| {
            let fits = named.key.starts_with(table) && named.key.ends_with(key);
            fits && self.folder.join(&named.path) == path
        };
        let named = self.config.files().iter().find(is_it);
        let (line, key) =
            named.map_or_else(|| (0, format!("{table}{key}")), |named| (named.line, named.key.clone()));
        self.problems.push(FileProblem { line, key, sentence });
    }
}

/// What is wrong with a certificate at this time.
fn untimely(path: PathBuf, found: &Certificate) -> Option<FileError> {
    let now = files::now();
    if found.is_expired(now) {
        return Some(FileError::expired(path, found, now));
    }
    let ahead = || format!("{} hours", (found.begins - now) / 3600 + 1);
    (found.begins > now).then(|| FileError::NotYet(path, ahead()))
}
