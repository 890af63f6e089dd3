//! A program with pipes on its three streams, bounded in time: nothing that hangs hangs the tests.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::docker::Ran;
use crate::host::wait_until;

/// The longest that a command may take; the machine may be busy with other tests.
const LIMIT_S: i64 = 90;

/// A program that runs, and what it has printed so far.
pub struct Running {
    shown: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Stream,
    stderr: Stream,
    /// How much of the standard output has been looked at.
    looked: usize,
    writer: Option<JoinHandle<()>>,
}

struct Stream {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Running {
    pub fn start(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let words = command.get_args().map(|word| word.to_string_lossy().into_owned());
        let shown = format!("{} {}", command.get_program().display(), words.collect::<Vec<_>>().join(" "));
        let mut child = command.spawn().with_context(|| shown.clone())?;
        let stdout = Stream::read(child.stdout.take().context("stdout")?);
        let stderr = Stream::read(child.stderr.take().context("stderr")?);
        let stdin = child.stdin.take();
        Ok(Self { shown, child, stdin, stdout, stderr, looked: 0, writer: None })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed on its standard output until now.
    pub fn printed(&self) -> String {
        self.stdout.text()
    }

    /// Bytes for standard input, which stays open.
    pub fn write(&mut self, input: &[u8]) -> Result<()> {
        let stdin = self.stdin.as_mut().context("stdin")?;
        stdin.write_all(input)?;
        Ok(stdin.flush()?)
    }

    pub fn type_text(&mut self, text: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("the input is closed")?;
        stdin.write_all(text.as_bytes())?;
        Ok(stdin.flush()?)
    }

    /// Gives it this input, beside everything else, and then the end of input.
    pub fn write_and_close(&mut self, input: &[u8]) -> Result<()> {
        let mut stdin = self.stdin.take().context("the input is closed")?;
        let input = input.to_vec();
        // A program that does not read to the end closes its input: no failure of the test.
        self.writer = Some(thread::spawn(move || drop(stdin.write_all(&input))));
        Ok(())
    }

    /// Waits for a text behind what was looked at before; answers everything up to and with it.
    pub fn expect(&mut self, text: &str) -> Result<String> {
        let (bytes, from) = (Arc::clone(&self.stdout.bytes), self.looked);
        let found = wait_until(&format!("{text:?} from {}", self.shown), || {
            let bytes = bytes.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = String::from_utf8_lossy(&bytes[from..]).into_owned();
            fresh.find(text).map(|at| fresh[..at + text.len()].to_owned())
        });
        let found =
            found.with_context(|| format!("it printed {:?} and {:?}", self.stdout.text(), self.stderr.text()))?;
        self.looked += found.len();
        Ok(found)
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(self.raw_pid()?, signal)?)
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Closes its input and waits for its end; kills it where that does not come.
    pub fn wait(mut self) -> Result<Ran> {
        self.stdin = None;
        let ended = if self.runs()? { self.wait_for_end() } else { Ok(()) };
        if ended.is_err() {
            self.child.kill()?;
        }
        let status = self.child.wait()?;
        let (stdout, stderr) = (self.stdout.finish(), self.stderr.finish());
        if let Some(writer) = self.writer {
            let _ = writer.join();
        }
        ended.with_context(|| format!("{}\nit printed {stdout:?} and {stderr:?}", self.shown))?;
        Ok(Ran { code: status.code().unwrap_or(-1), stdout, stderr })
    }

    fn wait_for_end(&self) -> Result<()> {
        let process = pidfd_open(self.raw_pid()?, PidfdFlags::empty())?;
        let mut wanted = [PollFd::new(&process, PollFlags::IN)];
        let limit = Timespec { tv_sec: LIMIT_S, tv_nsec: 0 };
        loop {
            match poll(&mut wanted, Some(&limit)) {
                Ok(0) => bail!("it did not end within {LIMIT_S} s"),
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn raw_pid(&self) -> Result<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("process id")
    }
}

impl Stream {
    fn read(mut from: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&bytes);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 16384];
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                to.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..length]);
            }
        });
        Self { bytes, reader }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    fn finish(self) -> String {
        let _ = self.reader.join();
        String::from_utf8_lossy(&self.bytes.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}
