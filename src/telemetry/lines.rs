//! Lines that wait until a thread writes them, without anybody waiting for that.

use std::io::{self, ErrorKind, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::metrics::Counter;

/// The most lines that may wait to be written, and the most bytes that they may have.
const LINES_MAX: usize = 4096;
const BYTES_MAX: usize = 4 << 20;

/// How long lines wait for a pipe that takes none, where that is not waited for by itself.
const RETRY: Duration = Duration::from_millis(10);

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

/// What is written where, and how.
#[derive(Debug)]
pub(super) struct Writing<W> {
    /// What the thread is called.
    pub(super) name: &'static str,
    /// How long the first line waits for others: where there are many, waking the thread for each
    /// costs more than the line.
    pub(super) gather: Duration,
    /// How much is written at once, but for a line that is longer.
    pub(super) part_bytes_max: usize,
    /// Where the lines go.
    pub(super) output: W,
    /// Counts lines that were not written.
    pub(super) dropped: Arc<Counter>,
}

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    gather: Duration,
    part_bytes_max: usize,
    dropped: Arc<Counter>,
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
    /// Nobody will ever read what is written.
    Broken,
}

impl Lines {
    /// Starts a thread that writes lines. It calls `break_off` if nobody will ever read them.
    pub(super) fn start(
        writing: Writing<impl Write + Send + 'static>,
        break_off: impl FnOnce() + Send + 'static,
    ) -> io::Result<(Self, LineWriter)> {
        let Writing { name, gather, part_bytes_max, output, dropped } = writing;
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            changed: Condvar::new(),
            gather,
            part_bytes_max,
            dropped,
        });
        let written = Arc::clone(&shared);
        let writer = thread::Builder::new().name(name.into()).spawn(move || {
            if written.write_all(output).is_err() {
                written.break_off();
                break_off();
            }
        })?;
        Ok((Self(shared), LineWriter(writer)))
    }

    /// Adds a line with its end. One for which there is no room is dropped and counted.
    pub(super) fn push(&self, line: &[u8]) {
        let mut waiting = self.0.waiting();
        let is_full = waiting.lines >= LINES_MAX || waiting.bytes.len() + line.len() > BYTES_MAX;
        if is_full || waiting.state != State::Open {
            self.0.dropped.increment();
            return;
        }
        let is_first = waiting.lines == 0;
        waiting.lines += 1;
        waiting.bytes.extend_from_slice(line);
        drop(waiting);
        if is_first {
            self.0.changed.notify_one();
        }
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

    /// Writes lines as they come, until there are no more; an error says that nobody reads them.
    fn write_all(&self, mut output: impl Write) -> io::Result<()> {
        let mut batch = Vec::new();
        while self.take(&mut batch) {
            let mut rest = batch.as_slice();
            while !rest.is_empty() {
                let (part, behind) = rest.split_at(part(rest, self.part_bytes_max));
                self.write(part, &mut output).inspect_err(|_| self.drop_lines(rest))?;
                rest = behind;
            }
            batch.clear();
            batch.shrink_to(KEPT_BYTES);
        }
        Ok(())
    }

    /// Writes some lines. Those that can't be written, as where a disk is full, are dropped and
    /// counted; those behind them may fare better.
    fn write(&self, part: &[u8], output: &mut impl Write) -> io::Result<()> {
        loop {
            match output.write_all(part).and_then(|()| output.flush()) {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Err(error),
                // It was made one that does not wait, by another process that has it.
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY),
                Err(_) => {
                    self.drop_lines(part);
                    return Ok(());
                }
                Ok(()) => return Ok(()),
            }
        }
    }

    /// Counts lines that were not written.
    fn drop_lines(&self, lines: &[u8]) {
        self.dropped.add(lines.split_inclusive(|byte| *byte == b'\n').count() as u64);
    }

    /// Takes no more lines, and drops those that wait.
    fn break_off(&self) {
        let mut waiting = self.waiting();
        waiting.state = State::Broken;
        waiting.lines = 0;
        let bytes = mem::take(&mut waiting.bytes);
        drop(waiting);
        self.drop_lines(&bytes);
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

/// How much is written next: as many lines as go together, or one that is longer.
fn part(lines: &[u8], bytes_max: usize) -> usize {
    let end_of_line = |byte: &u8| *byte == b'\n';
    let most = &lines[..lines.len().min(bytes_max)];
    let last = most.iter().rposition(end_of_line);
    let end = last.or_else(|| lines.iter().position(end_of_line));
    end.map_or(lines.len(), |end| end + 1)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const PART_BYTES_MAX: usize = 4096;

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

    /// Lines, what is written, and what lets that happen.
    struct Run {
        lines: Lines,
        writer: LineWriter,
        dropped: Arc<Counter>,
        seen: Receiver<Vec<u8>>,
        lets: Sender<io::Result<()>>,
    }

    fn start() -> Run {
        let (written, seen) = channel();
        let (lets, goes) = channel();
        let (output, dropped) = (Output(written, goes), Arc::<Counter>::default());
        let gather = Duration::from_millis(10);
        let writing = Writing {
            name: "lines",
            gather,
            part_bytes_max: PART_BYTES_MAX,
            output,
            dropped: Arc::clone(&dropped),
        };
        let (lines, writer) = Lines::start(writing, || ()).unwrap();
        Run { lines, writer, dropped, seen, lets }
    }

    /// Fails unless it ends, however slow the machine is.
    fn assert_ends(writer: &LineWriter) {
        assert!((0..30).any(|_| writer.ends_soon()));
    }

    #[test]
    fn lines_are_written_in_their_order_until_the_last() {
        let Run { lines, writer, dropped, seen, lets } = start();
        for line in [b"a\n", b"b\n"] {
            lines.push(line);
        }
        drop(lines);
        for _ in 0..2 {
            lets.send(Ok(())).unwrap();
        }
        assert_ends(&writer);
        assert_eq!(seen.iter().collect::<Vec<_>>().concat(), b"a\nb\n");
        assert_eq!(dropped.value(), 0);
    }

    #[test]
    fn what_finds_no_room_is_dropped() {
        let Run { lines, writer, dropped, seen, lets } = start();
        lines.push(b"first\n");
        // It is being written now, and that takes as long as it takes.
        assert_eq!(seen.recv().unwrap(), b"first\n");
        (0..LINES_MAX).for_each(|_| lines.push(b"another\n"));
        assert_eq!(dropped.value(), 0);
        lines.push(b"one too many\n");
        assert_eq!(dropped.value(), 1);
        lets.send(Ok(())).unwrap();
        let part = b"another\n".repeat(PART_BYTES_MAX / 8);
        assert_eq!(seen.recv().unwrap(), part);
        // All of them have been taken: there is room again, for so many bytes.
        let longest = [vec![b'x'; BYTES_MAX - 1], vec![b'\n']].concat();
        lines.push(&longest);
        lines.push(b"\n");
        assert_eq!(dropped.value(), 2);
        for _ in 1..LINES_MAX * 8 / PART_BYTES_MAX {
            lets.send(Ok(())).unwrap();
            assert_eq!(seen.recv().unwrap(), part);
        }
        lets.send(Ok(())).unwrap();
        assert_eq!(seen.recv().unwrap(), longest);
        // Where nobody reads any more, nothing more is taken.
        lines.push(b"waits\n");
        lets.send(Err(ErrorKind::BrokenPipe.into())).unwrap();
        assert_ends(&writer);
        lines.push(b"late\n");
        assert_eq!(dropped.value(), 5);
    }

    #[test]
    fn what_fails_once_may_go_on() {
        let Run { lines, writer, dropped, seen, lets } = start();
        let write = |line: &[u8], results: &[Result<(), ErrorKind>]| {
            lines.push(line);
            for result in results {
                assert_eq!(seen.recv().unwrap(), line);
                lets.send(result.map_err(io::Error::from)).unwrap();
            }
        };
        write(b"lost\n", &[Err(ErrorKind::StorageFull)]);
        write(b"late\n", &[Err(ErrorKind::WouldBlock), Err(ErrorKind::WouldBlock), Ok(())]);
        write(b"well\n", &[Ok(())]);
        drop(lines);
        assert_ends(&writer);
        assert_eq!(dropped.value(), 1);
    }

    #[test]
    fn lines_are_written_whole() {
        let long = vec![b'x'; PART_BYTES_MAX];
        for (lines, first) in [
            (b"a\nb\n".to_vec(), 4),
            ([&long[..], b"\nb\n"].concat(), long.len() + 1),
            ([b"a\nb\n", &long[..], b"\n"].concat(), 4),
            ([&long[1..], b"\n", b"b\n"].concat(), long.len()),
        ] {
            assert_eq!(part(&lines, PART_BYTES_MAX), first);
        }
    }
}
