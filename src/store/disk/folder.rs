//! The folder of a disk store: what stands in it besides the records.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::times::Note;
use crate::idempotency::Secret;

/// The format of the whole folder, which stands in its own file.
const FORMAT: u32 = 1;

/// What the file of the format begins with.
const FORMAT_WORDS: &str = "oncegate records, format ";

/// The folder of the records, in the folder.
pub(super) const RECORDS: &str = "records";

const SECRET_BYTES: usize = 32;

/// The most bytes of a file that are looked at: none that belongs here is longer.
const FILE_BYTES_MAX: u64 = 64;

/// Permissions of others. Those of the group are not looked at: where a volume belongs to a group,
/// as in Kubernetes, whoever mounts it gives them to every file.
const OTHERS: u32 = 0o007;

/// Why a disk store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum DiskOpenError {
    /// The folder, or a file in it, can't be made, read or written.
    #[error("{} can't be used: {source}", path.display())]
    Folder {
        /// What can't be used.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process, or another store in this one, has the folder open.
    #[error(
        "{} is in use by another process; stop that one first, or give this one a folder of its \
         own",
        .0.display()
    )]
    Locked(PathBuf),
    /// The folder was written in a format that is not known here.
    #[error(
        "{} has format {found}, and only format {FORMAT} is known; use the version that has \
         written it, or another folder",
        path.display()
    )]
    UnknownFormat {
        /// The folder.
        path: PathBuf,
        /// What its file says.
        found: String,
    },
    /// What stands in the folder is not what was written.
    #[error("the records in {} can't be read: {reason}", path.display())]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The journal does not hold what was written: power was lost in the middle of a write, or the
    /// disk has changed what it had. The two can't be told apart, and after the second what was
    /// acknowledged is gone; so nothing is cut away unasked.
    #[error(
        "the journal in {} can't be read ({reason}), as after a loss of power in the middle of a \
         write; keep a copy of the folder and restore it from a backup, or move {} away and leave \
         the rest to begin without records: what was executed within its window can then be \
         executed again",
        path.display(),
        path.display()
    )]
    Torn {
        /// The folder of the records.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There are records, but not the secret that their keys were made with.
    #[error("{} is missing, and without it none of the records is found; restore it", .0.display())]
    SecretMissing(PathBuf),
    /// The secret is cut, or something else.
    #[error("{} has {found} bytes instead of {SECRET_BYTES}; restore it", path.display())]
    SecretLength {
        /// Its file.
        path: PathBuf,
        /// How many bytes that has.
        found: u64,
    },
    /// Others can read or write the secret.
    #[error("{} is open to others (mode {mode:03o}); change its mode to 600", path.display())]
    SecretOpen {
        /// Its file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The operating system has no randomness to make a secret of.
    #[error("no secret could be made: {0}")]
    Randomness(#[from] getrandom::Error),
    /// The thread that writes could not be started.
    #[error("the thread that writes can't be started: {0}")]
    Thread(io::Error),
}

/// Whether records were there before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Before {
    /// None.
    Empty,
    /// Some, or there may have been.
    Records,
}

/// The folder of a disk store.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes what is not there, for this user only, and checks the format.
    pub(super) fn open(path: &Path) -> Result<Self, DiskOpenError> {
        let folder = Self(path.to_path_buf());
        for path in [path, &folder.records()] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.map_err(|source| failed(path, source))?;
        }
        folder.check_format()?;
        Ok(folder)
    }

    /// Where the records stand.
    pub(super) fn records(&self) -> PathBuf {
        self.0.join(RECORDS)
    }

    fn format(&self) -> PathBuf {
        self.0.join("format")
    }

    fn check_format(&self) -> Result<(), DiskOpenError> {
        let path = self.format();
        match read(&path) {
            Ok(words) if words == format_words().as_bytes() => Ok(()),
            Ok(words) => {
                let words = String::from_utf8_lossy(&words);
                let found = words.trim().trim_start_matches(FORMAT_WORDS);
                let found = found.chars().take(40).collect();
                Err(DiskOpenError::UnknownFormat { path: self.0.clone(), found })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed(&path, error)),
        }
    }

    /// Writes the format down, once all else is in place; whoever calls it holds the lock.
    pub(super) fn mark(&self) -> Result<(), DiskOpenError> {
        let path = self.format();
        match path.try_exists() {
            Ok(true) => Ok(()),
            Ok(false) => self.write(&path, format_words().as_bytes()),
            Err(error) => Err(failed(&path, error)),
        }
    }

    /// What was written down of the time, if that can be told.
    pub(super) fn noted(&self) -> Result<Option<Note>, DiskOpenError> {
        let path = self.clock();
        match read(&path) {
            Ok(words) => Ok(Note::parse(&words)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&path, error)),
        }
    }

    /// Writes down what time it is.
    pub(super) fn note(&self, note: Note) -> Result<(), DiskOpenError> {
        self.write(&self.clock(), note.words().as_bytes())
    }

    fn clock(&self) -> PathBuf {
        self.0.join("clock")
    }

    /// The secret; it is made if there are no records that need another. Whoever calls it holds
    /// the lock.
    pub(super) fn secret(&self, before: Before) -> Result<Secret, DiskOpenError> {
        let path = self.0.join("secret");
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&path, error)),
            Err(_) if before == Before::Records => return Err(DiskOpenError::SecretMissing(path)),
            Err(_) => {
                let mut bytes = [0; SECRET_BYTES];
                getrandom::fill(&mut bytes)?;
                self.write(&path, &bytes)?;
                return Ok(Secret::from_bytes(bytes));
            }
        };
        if metadata.mode() & OTHERS != 0 {
            return Err(DiskOpenError::SecretOpen { path, mode: metadata.mode() & 0o777 });
        }
        let found = metadata.len();
        if found != SECRET_BYTES as u64 {
            return Err(DiskOpenError::SecretLength { path, found });
        }
        let bytes = read(&path).map_err(|error| failed(&path, error))?;
        let bytes = bytes.try_into();
        bytes.map(Secret::from_bytes).map_err(|_| DiskOpenError::SecretLength { path, found })
    }

    /// Writes a file that is there as a whole or not at all, even if the power fails.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), DiskOpenError> {
        let new = path.with_extension("new");
        let written = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&new, path)?;
            File::open(&self.0)?.sync_all()
        };
        written().map_err(|error| failed(path, error))
    }
}

/// What stands at the beginning of a file.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn format_words() -> String {
    format!("{FORMAT_WORDS}{FORMAT}\n")
}

fn failed(path: &Path, source: io::Error) -> DiskOpenError {
    DiskOpenError::Folder { path: path.to_path_buf(), source }
}
