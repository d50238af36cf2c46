//! The repository's files as values.
//!
//! Owns: which files the rules see: all of the working tree but build output, version control and binary files. Leaves
//! to others: every rule. Reads the tree itself and asks no version control, so that a copy without it is checked alike.

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path};

/// Folders that hold nothing of ours, by name.
const NOT_OURS: [&str; 3] = ["target", ".git", "node_modules"];

/// A text file.
#[derive(Debug, Clone)]
pub struct File {
    /// Its path relative to the root, with `/`.
    pub path: String,
    /// Its content.
    pub text: String,
    /// Whether anyone may execute it.
    pub executable: bool,
}

impl File {
    /// A file as the tests of the rules need it.
    #[must_use]
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), executable: false }
    }

    /// The last component of the path.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Whether the name ends in `.` and this.
    #[must_use]
    pub fn has_extension(&self, extension: &str) -> bool {
        self.name().rsplit_once('.').is_some_and(|(_, found)| found == extension)
    }
}

/// Every text file of a repository, in the order of their paths.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    files: Vec<File>,
    folders: Vec<String>,
}

impl Tree {
    /// Reads the working tree under `root`.
    ///
    /// # Errors
    /// When a folder or file cannot be read.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut tree = Self::default();
        tree.read_folder(root, "")?;
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            let kind = entry.file_type()?;
            if kind.is_dir() && !NOT_OURS.contains(&name.as_str()) {
                self.read_folder(&entry.path(), &format!("{path}/"))?;
                self.folders.push(path);
            } else if kind.is_file() {
                self.read_file(&entry.path(), path)?;
            }
        }
        Ok(())
    }

    fn read_file(&mut self, file: &Path, path: String) -> io::Result<()> {
        let Ok(text) = String::from_utf8(fs::read(file)?) else {
            return Ok(());
        };
        let executable = fs::metadata(file)?.permissions().mode() & 0o111 != 0;
        self.files.push(File { path, text, executable });
        Ok(())
    }

    /// Every file.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.files.iter()
    }

    /// The files whose names end in `.` and this.
    pub fn with_extension<'a>(&'a self, extension: &'a str) -> impl Iterator<Item = &'a File> {
        self.files.iter().filter(move |file| file.has_extension(extension))
    }

    /// The file at a path, if there is one.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Whether there is a file or folder at a path.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        path.is_empty() || self.folders.iter().any(|folder| folder == path) || self.file(path).is_some()
    }
}

impl FromIterator<File> for Tree {
    fn from_iter<I: IntoIterator<Item = File>>(files: I) -> Self {
        Self { files: files.into_iter().collect(), folders: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_output_and_binary_files_are_not_seen() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, bytes: &[u8]| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        put("target/debug/a.rs", b"x");
        put("crates/a/src/lib.rs", b"//! A.");
        put("picture", &[0xff, 0xfe]);

        let tree = Tree::read(root.path()).unwrap();

        assert_eq!(tree.files().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["crates/a/src/lib.rs"]);
        assert!(tree.has("crates/a/") && tree.has("crates/a/src/lib.rs") && !tree.has("crates/b"));
    }
}
