//! Lines that wait until a thread writes them, without anybody waiting for that.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The most lines that may wait to be written, and the most bytes that they may have.
const LINES_MAX: usize = 4096;
const BYTES_MAX: usize = 4 << 20;

/// How long the first line waits for others: waking the thread for each costs more than the line.
const GATHER: Duration = Duration::from_millis(10);

/// The room that is kept for lines.
const KEPT_BYTES: usize = 64 << 10;

/// Where lines wait. When it is dropped, the thread writes what there is and ends.
#[derive(Debug)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: usize,
    bytes: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    #[default]
    Open,
    /// Nothing more comes.
    Ended,
    /// What is written to takes no more.
    Broken,
}

impl Lines {
    /// Starts a thread that writes lines to `output`.
    pub(super) fn start(output: impl Write + Send + 'static) -> io::Result<(Self, JoinHandle<()>)> {
        let shared = Arc::<Shared>::default();
        let written = Arc::clone(&shared);
        let thread = thread::Builder::new().name("access-log".into());
        let writer = thread.spawn(move || written.write_all(output))?;
        Ok((Self(shared), writer))
    }

    /// Adds a line with its end; false if there is no room for it.
    pub(super) fn push(&self, line: &str) -> bool {
        let mut waiting = self.0.waiting();
        let is_full = waiting.lines >= LINES_MAX || waiting.bytes.len() + line.len() > BYTES_MAX;
        if is_full || waiting.state == State::Broken {
            return false;
        }
        let is_first = waiting.lines == 0;
        waiting.lines += 1;
        waiting.bytes.extend_from_slice(line.as_bytes());
        drop(waiting);
        if is_first {
            self.0.changed.notify_one();
        }
        true
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        if waiting.state == State::Open {
            waiting.state = State::Ended;
        }
        drop(waiting);
        self.0.changed.notify_one();
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // A panic elsewhere leaves lines that are whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self, mut output: impl Write) {
        let mut batch = Vec::new();
        while self.take(&mut batch) {
            if output.write_all(&batch).and_then(|()| output.flush()).is_err() {
                tracing::error!("the access log ends: stdout cannot be written to");
                self.waiting().state = State::Broken;
                return;
            }
            batch.clear();
            batch.shrink_to(KEPT_BYTES);
        }
    }

    /// Waits for lines and takes all; false if there will be none.
    fn take(&self, batch: &mut Vec<u8>) -> bool {
        let is_idle = |waiting: &mut Waiting| waiting.lines == 0 && waiting.state == State::Open;
        let waited = self.changed.wait_while(self.waiting(), is_idle);
        let waiting = waited.unwrap_or_else(PoisonError::into_inner);
        if waiting.lines == 0 {
            return false;
        }
        // Nobody notifies before these are taken, but for the end.
        let is_open = |waiting: &mut Waiting| waiting.state == State::Open;
        let gathered = self.changed.wait_timeout_while(waiting, GATHER, is_open);
        let (mut waiting, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        waiting.lines = 0;
        mem::swap(&mut waiting.bytes, batch);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// What passes on what is written to it, once it is let to.
    struct Output(Sender<Vec<u8>>, Receiver<io::Result<()>>);

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            self.1.recv().map_err(io::Error::other)??;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_in_their_order_until_the_last() {
        let (written, seen) = channel();
        let (lets, goes) = channel();
        let (lines, writer) = Lines::start(Output(written, goes)).unwrap();
        for line in ["a\n", "b\n"] {
            assert!(lines.push(line));
        }
        drop(lines);
        lets.send(Ok(())).unwrap();
        lets.send(Ok(())).unwrap();
        writer.join().unwrap();
        assert_eq!(seen.iter().collect::<Vec<_>>().concat(), b"a\nb\n");
    }

    #[test]
    fn what_finds_no_room_is_not_taken() {
        let (written, seen) = channel();
        let (lets, goes) = channel();
        let (lines, writer) = Lines::start(Output(written, goes)).unwrap();
        assert!(lines.push("first\n"));
        // It is being written now, and that takes as long as it takes.
        assert_eq!(seen.recv().unwrap(), b"first\n");
        assert!((0..LINES_MAX).all(|_| lines.push("another\n")));
        assert!(!lines.push("one too many\n"));
        lets.send(Ok(())).unwrap();
        assert_eq!(seen.recv().unwrap().len(), LINES_MAX * "another\n".len());
        assert!(lines.push(&"x".repeat(BYTES_MAX)));
        assert!(!lines.push("x"));
        // What breaks takes nothing more.
        lets.send(Err(io::Error::other("it is closed"))).unwrap();
        writer.join().unwrap();
        assert!(!lines.push("late\n"));
    }
}
