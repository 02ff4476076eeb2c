//! The files that a config consists of: itself, and those that it names.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::kinds::FilePath;
use super::mistake::{Located, Mistake, Mistakes, Place};

/// The largest file that is read, in bytes: one that has no end must not take all memory.
const BYTES_MAX: u64 = 4 << 20;

/// Reads files, and knows which were read: a change of any of them is a change of the config.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Files {
    /// The folder of the config file, from which the paths in it start.
    folder: PathBuf,
    /// The files, and the hash of what each held when it was read; none if it could not be.
    read: Vec<(PathBuf, Option<Content>)>,
}

/// The hash of what a file held.
type Content = [u8; 32];

impl Files {
    /// The files of a config.
    pub fn beside(config: Option<&Path>) -> Self {
        let folder = config.and_then(Path::parent).map(Path::to_path_buf).unwrap_or_default();
        Self { folder, read: Vec::new() }
    }

    /// The files that were read, or that should have been.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.read.iter().map(|(path, _)| path.as_path())
    }

    /// Whether each holds what it held when it was read. One that could not be read counts, too: it
    /// may come back.
    pub fn are_unchanged(&self) -> bool {
        self.read.iter().all(|(path, content)| now(path) == *content)
    }

    /// The same files with what they hold now.
    #[must_use]
    pub fn look(&self) -> Self {
        let read = self.read.iter().map(|(path, _)| (path.clone(), now(path))).collect();
        Self { folder: self.folder.clone(), read }
    }

    /// Reads the config file itself.
    pub(super) fn read_config(&mut self, path: &Path) -> Result<String, Mistakes> {
        let name = path.to_string_lossy();
        let mut mistakes = Mistakes::new(&name);
        let (place, text) = match self.contents(path) {
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => return Ok(text),
                Err(error) => not_utf8(&error),
            },
            Err(reason) => (Place::WholeFile, format!("the file can't be read: {reason}")),
        };
        mistakes.add(Mistake::new(place, "", text));
        Err(mistakes)
    }

    /// Reads a file that the config names by `key`.
    ///
    /// What the config says may be a secret by mistake, so that the path is not shown.
    pub(super) fn read(&mut self, key: &str, path: &Located<FilePath>) -> Result<Vec<u8>, Mistake> {
        // What a flag names starts from where the command is given.
        let resolved = match path.place {
            Place::Flag(_) | Place::Variable(_) => path.value.as_path().to_path_buf(),
            Place::File { .. } | Place::WholeFile | Place::Default => {
                self.folder.join(path.value.as_path())
            }
        };
        self.contents(&resolved).map_err(|reason| {
            let is_beside = path.place.line().is_some() && path.value.as_path().is_relative();
            let from = match is_beside {
                true => "; its path starts from the folder of this file",
                false => "",
            };
            Mistake::new(path.place, key, format!("the file can't be read: {reason}{from}"))
        })
    }

    fn contents(&mut self, path: &Path) -> Result<Vec<u8>, String> {
        let bytes = bounded(path);
        self.read.push((path.to_path_buf(), bytes.as_deref().ok().map(content)));
        match bytes {
            Ok(bytes) if bytes.len() as u64 > BYTES_MAX => {
                Err(format!("it has more than {} MiB", BYTES_MAX >> 20))
            }
            Ok(bytes) => Ok(bytes),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn content(bytes: &[u8]) -> Content {
    *blake3::hash(bytes).as_bytes()
}

/// What a file holds now.
fn now(path: &Path) -> Option<Content> {
    bounded(path).as_deref().ok().map(content)
}

/// Reads a file, and of one that is too large just enough to see that.
fn bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn not_utf8(error: &std::string::FromUtf8Error) -> (Place, String) {
    let (valid, _) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
    let text = String::from_utf8_lossy(valid);
    let place = super::found::Source::new(&text).place(text.len());
    (place, "the file is not UTF-8 from here on".into())
}
