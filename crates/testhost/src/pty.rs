//! A pseudo-terminal to drive a program as a person does: type, and read the screen.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::host::wait_until;

/// A program on a terminal of its own.
pub struct Terminal {
    master: File,
    child: Child,
    seen: Arc<Mutex<Vec<u8>>>,
    /// How much of what was seen has been looked at.
    read: usize,
}

impl Terminal {
    /// Starts the program on a terminal of 80 columns and 24 rows.
    pub fn start(command: &Command) -> Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let path = name.to_str().context("terminal name")?;
        let side = File::options().read(true).write(true).open(path)?;
        tcsetwinsize(&master, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 })?;
        let mut command = on_controlling_terminal(command);
        command.stdin(Stdio::from(side.try_clone()?)).stdout(Stdio::from(side.try_clone()?)).stderr(Stdio::from(side));
        let child = command.spawn().with_context(|| format!("{command:?}"))?;
        // Our ends of the other side are closed here, so that the program's end is seen.
        drop(command);
        let master = File::from(master);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (mut from, to) = (master.try_clone()?, Arc::clone(&seen));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The last close of the other side is an error here: the program has ended.
            while let Ok(length) = from.read(&mut buffer) {
                if length == 0 {
                    break;
                }
                to.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..length]);
            }
        });
        Ok(Self { master, child, seen, read: 0 })
    }

    pub fn type_keys(&mut self, keys: &str) -> Result<()> {
        self.master.write_all(keys.as_bytes()).context("typing")
    }

    pub fn resize(&self, columns: u16, rows: u16) -> Result<()> {
        Ok(tcsetwinsize(&self.master, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?)
    }

    /// Waits for a text behind what was looked at before; answers everything up to and with it.
    pub fn expect(&mut self, text: &str) -> Result<String> {
        let (seen, from) = (Arc::clone(&self.seen), self.read);
        let found = wait_until(&format!("{text:?} on the terminal"), || {
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = String::from_utf8_lossy(&seen[from..]).into_owned();
            fresh.find(text).map(|at| fresh[..at + text.len()].to_owned())
        });
        let found = found.with_context(|| format!("the screen shows {:?}", self.screen()))?;
        self.read += found.len();
        Ok(found)
    }

    /// Everything that was ever printed.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Waits for the program's end; its exit code.
    pub fn wait(&mut self) -> Result<i32> {
        let status =
            wait_until("the end of the program", || self.child.try_wait().transpose()).context("program")??;
        Ok(status.code().unwrap_or(-1))
    }
}

/// The same program in a session of its own, which the terminal controls: SIGWINCH and Ctrl-C reach it.
fn on_controlling_terminal(command: &Command) -> Command {
    let mut wrapped = Command::new("setsid");
    wrapped.arg("--ctty").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    wrapped
}
