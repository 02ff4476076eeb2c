//! Config files: those that ship as examples, and those that a test writes and changes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The path of an example.
pub fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// A folder that nobody else has, and that is gone with it.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).expect("making a folder");
        Self(path)
    }

    /// The path of a file in it, whether there is one or not.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file, and says its path.
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, contents).expect("writing a file");
        path.to_str().expect("a path that is text").to_owned()
    }

    /// Puts a new file in the place of another, as an editor does.
    pub fn replace(&self, name: &str, text: impl AsRef<[u8]>) {
        let new = self.write(&format!("{name}.new"), text);
        std::fs::rename(new, self.path(name)).expect("replacing a file");
    }

    /// Writes a copy of an example in which these texts are replaced, each of which must be there.
    pub fn edited(&self, name: &str, edits: &[(&str, &str)]) -> PathBuf {
        let mut text = std::fs::read_to_string(example(name)).expect("reading an example");
        for (old, new) in edits {
            assert!(text.contains(old), "{name} has no {old}");
            text = text.replace(old, new);
        }
        self.write(name, text).into()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}
