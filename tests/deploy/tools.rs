//! Programs that say whether a file is right, and the places of files.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

/// What the install script notes last: the lock files that it has installed.
const LOCKS: &str = concat!(
    include_str!("requirements.txt"),
    include_str!("package.json"),
    include_str!("package-lock.json")
);

/// The Debian packages of programs.
const PACKAGES: [(&str, &str); 3] =
    [("man", "man-db"), ("promtool", "prometheus"), ("unshare", "util-linux")];

/// The program under test.
pub fn oncegate() -> Command {
    program(Path::new(env!("CARGO_BIN_EXE_oncegate")))
}

/// A program of the system, which must be installed.
pub fn system(name: &str) -> Command {
    let found = find(name).unwrap_or_else(|| {
        let known = PACKAGES.iter().find(|(program, _)| *program == name);
        let package = known.map_or(name, |(_, package)| package);
        panic!(
            "{name} is not installed: tests/run installs it, and so does apt-get install {package}"
        )
    });
    program(&found)
}

/// Where a program is, if it is installed.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// What `tests/deploy/install` has installed.
pub fn installed(path: &str) -> PathBuf {
    // The folder of the binary's profile is in the target folder.
    let target = Path::new(env!("CARGO_BIN_EXE_oncegate")).ancestors().nth(2).unwrap();
    let folder = target.join("deploy");
    let stamp = fs::read_to_string(folder.join("stamp")).unwrap_or_default();
    let is_there = stamp.ends_with(LOCKS);
    assert!(is_there, "{} is not what it should be: run tests/deploy/install", folder.display());
    folder.join(path)
}

/// A program that gets nothing of the environment but where programs are.
pub fn program(path: &Path) -> Command {
    let mut command = Command::new(path);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// Runs a program to its end, which must be a good one, and returns what it has written.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    run_with(command, "")
}

/// The same, with something to read.
#[track_caller]
pub fn run_with(command: &mut Command, input: &str) -> String {
    let output = output(command, input);
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8(output.stdout).expect("its output is text");
    assert!(output.status.success(), "{command:?}: {}\n{text}\n{errors}", output.status);
    text
}

/// The end of a program that has read something.
#[track_caller]
pub fn output(command: &mut Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let told = std::thread::spawn(move || {
        // Whoever has heard enough may leave before the end.
        let _ = stdin.write_all(input.as_bytes());
    });
    let output = child.wait_with_output().unwrap();
    told.join().unwrap();
    output
}

/// The documents of a YAML file, which must be what these versions of Kubernetes know.
#[track_caller]
pub fn documents(yaml: &str, versions: &[&str]) -> Vec<Value> {
    let driver = repository().join("tests/deploy/drivers/manifests.py");
    let mut command = program(&installed("venv/bin/python"));
    let json = run_with(command.arg("-I").arg(driver).args(versions), yaml);
    serde_json::from_str(&json).unwrap()
}

pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the repository.
#[track_caller]
pub fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A new folder, which goes with the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        // Cases that run at the same time may call theirs the same.
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("deploy-{name}-{number}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: impl AsRef<OsStr>, text: &str) -> PathBuf {
        let path = self.0.join(name.as_ref());
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
