//! Lines that wait until a thread writes them, without anybody waiting for that.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The most lines that may wait to be written, and the most bytes that they may have.
const LINES_MAX: usize = 4096;
const BYTES_MAX: usize = 4 << 20;

/// The room that is kept for lines.
const KEPT_BYTES: usize = 64 << 10;

/// How long the last lines have to be written: whoever should read them may never do so.
const END: Duration = Duration::from_secs(1);

/// Where lines wait. When it is dropped, the thread writes what there is and ends.
#[derive(Debug)]
pub(super) struct Lines(Arc<Shared>);

/// What is known of the thread that writes.
#[derive(Debug)]
pub struct LineWriter(JoinHandle<()>);

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    /// How long the first line waits for others: where there are many, waking the thread for each
    /// costs more than the line.
    gather: Duration,
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
    /// Starts a thread of this name that writes lines to `output`. What breaks is told to
    /// `break_off`.
    pub(super) fn start(
        name: &str,
        gather: Duration,
        output: impl Write + Send + 'static,
        break_off: impl FnOnce() + Send + 'static,
    ) -> io::Result<(Self, LineWriter)> {
        let shared = Shared { waiting: Mutex::default(), changed: Condvar::new(), gather };
        let shared = Arc::new(shared);
        let written = Arc::clone(&shared);
        let writer = thread::Builder::new().name(name.into()).spawn(move || {
            if written.write_all(output).is_err() {
                written.waiting().state = State::Broken;
                break_off();
            }
        })?;
        Ok((Self(shared), LineWriter(writer)))
    }

    /// Adds a line with its end; false if there is no room for it.
    pub(super) fn push(&self, line: &[u8]) -> bool {
        let mut waiting = self.0.waiting();
        let is_full = waiting.lines >= LINES_MAX || waiting.bytes.len() + line.len() > BYTES_MAX;
        if is_full || waiting.state != State::Open {
            return false;
        }
        let is_first = waiting.lines == 0;
        waiting.lines += 1;
        waiting.bytes.extend_from_slice(line);
        drop(waiting);
        if is_first {
            self.0.changed.notify_one();
        }
        true
    }

    /// Takes no more lines: the thread writes what there is and ends.
    pub(super) fn end(&self) {
        let mut waiting = self.0.waiting();
        if waiting.state == State::Open {
            waiting.state = State::Ended;
        }
        drop(waiting);
        self.0.changed.notify_one();
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.end();
    }
}

impl LineWriter {
    /// Whether all is written within a second: what writes to a blocked pipe never ends.
    pub fn ends_soon(&self) -> bool {
        let end = Instant::now() + END;
        while !self.0.is_finished() && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
        self.0.is_finished()
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // A panic elsewhere leaves lines that are whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes lines as they come, until there are no more.
    fn write_all(&self, mut output: impl Write) -> io::Result<()> {
        let mut batch = Vec::new();
        while self.take(&mut batch) {
            output.write_all(&batch)?;
            output.flush()?;
            batch.clear();
            batch.shrink_to(KEPT_BYTES);
        }
        Ok(())
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
        let gathered = self.changed.wait_timeout_while(waiting, self.gather, is_open);
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

    fn start(output: Output) -> (Lines, LineWriter) {
        Lines::start("lines", Duration::from_millis(10), output, || ()).unwrap()
    }

    #[test]
    fn lines_are_written_in_their_order_until_the_last() {
        let (written, seen) = channel();
        let (lets, goes) = channel();
        let (lines, writer) = start(Output(written, goes));
        for line in [b"a\n", b"b\n"] {
            assert!(lines.push(line));
        }
        drop(lines);
        lets.send(Ok(())).unwrap();
        lets.send(Ok(())).unwrap();
        assert!(writer.ends_soon());
        assert_eq!(seen.iter().collect::<Vec<_>>().concat(), b"a\nb\n");
    }

    #[test]
    fn what_finds_no_room_is_not_taken() {
        let (written, seen) = channel();
        let (lets, goes) = channel();
        let (lines, writer) = start(Output(written, goes));
        assert!(lines.push(b"first\n"));
        // It is being written now, and that takes as long as it takes.
        assert_eq!(seen.recv().unwrap(), b"first\n");
        assert!((0..LINES_MAX).all(|_| lines.push(b"another\n")));
        assert!(!lines.push(b"one too many\n"));
        lets.send(Ok(())).unwrap();
        assert_eq!(seen.recv().unwrap().len(), LINES_MAX * "another\n".len());
        assert!(lines.push(&vec![b'x'; BYTES_MAX]));
        assert!(!lines.push(b"x"));
        // What breaks takes nothing more.
        lets.send(Err(io::Error::other("it is closed"))).unwrap();
        assert!(writer.ends_soon());
        assert!(!lines.push(b"late\n"));
    }
}
