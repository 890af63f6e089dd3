//! Waiting for a process in the foreground: signals go to it, a terminal is relayed.

use crate::RuntimeError;
use crate::fd::Fd;
use sys::{console, file, process, signal, socket};

const CHUNK: usize = 32 * 1024;

/// Our end of the console: before the child is ready the socket through which its master comes.
#[derive(Debug)]
pub struct Terminal {
    socket: Fd,
}

impl Terminal {
    pub fn new(socket: Fd) -> Self {
        Self { socket }
    }

    fn receive_master(&self) -> Result<Fd, RuntimeError> {
        let mut name = [0; 64];
        match socket::receive(self.socket.raw(), &mut name) {
            Ok((_, Some(master))) => Ok(Fd::new(master)),
            Ok((_, None)) => Err(RuntimeError::Start("no terminal came from the container".into())),
            Err(errno) => Err(RuntimeError::Start(format!("receive the container's terminal: {errno}"))),
        }
    }
}

/// Who takes the other end of a terminal must be known before anything is made.
pub fn check_terminal(terminal: bool, has_socket: bool, foreground: bool) -> Result<(), RuntimeError> {
    let message = match (terminal, has_socket, foreground) {
        (true, false, false) => "cannot allocate tty if runc will detach without setting console socket",
        (_, true, true) => "cannot use console socket if runc will not detach or allocate tty",
        (false, true, false) => "cannot use console socket if runc will not detach or allocate tty",
        _ => return Ok(()),
    };
    Err(RuntimeError::InvalidArgument(message.into()))
}

/// Puts the caller's terminal back as it was.
struct RawMode(Option<libc::termios>);

impl Drop for RawMode {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = console::set(0, before);
        }
    }
}

/// Keeps signals for the process that is to be started: from its first moment on they are its own.
pub fn take_signals() -> Result<Fd, RuntimeError> {
    signal::block_all_into_fd().map(Fd::new).map_err(RuntimeError::system("signalfd"))
}

/// Waits for the process and answers its exit code.
pub fn wait(pid: i32, terminal: Option<Terminal>, signals: Fd, subreaper: bool) -> Result<i32, RuntimeError> {
    // The wait may be long, and what comes after it is little.
    sys::memory::give_back_text();
    if subreaper {
        process::set_child_subreaper().map_err(RuntimeError::system("become a subreaper"))?;
    }
    let master = terminal.map(|terminal| terminal.receive_master()).transpose()?;
    let raw = match &master {
        Some(master) => {
            copy_size(master);
            RawMode(console::make_raw(0).ok())
        }
        None => RawMode(None),
    };
    let mut relay = Relay { signals, input_open: master.is_some(), master, pid };
    let code = relay.run()?;
    drop(raw);
    Ok(code)
}

/// Passes on what a process that has failed left on its terminal.
pub fn show(terminal: Option<Terminal>) {
    let Some(Ok(master)) = terminal.map(|terminal| terminal.receive_master()) else { return };
    drain(&mut Some(master));
}

/// Passes on the rest of a terminal's output: until its other end is closed by all, or nothing comes any more. The kernel
/// hands output over in its own time, some of it after the process has ended.
fn drain(master: &mut Option<Fd>) {
    const PATIENCE_MS: i32 = 200;
    while let Some(fd) = master.as_ref().map(Fd::raw) {
        let mut polls = [libc::pollfd { fd, events: libc::POLLIN, revents: 0 }];
        if !process::poll(&mut polls, PATIENCE_MS).is_ok_and(|ready| ready > 0) {
            return;
        }
        copy_output(master);
    }
}

fn copy_output(master: &mut Option<Fd>) {
    let Some(fd) = master.as_ref().map(Fd::raw) else { return };
    let mut buffer = vec![0; CHUNK];
    // EIO: nobody has the other end open any more.
    match file::read(fd, &mut buffer) {
        Ok(0) | Err(_) => *master = None,
        Ok(length) => write_all(1, &buffer[..length]),
    }
}

fn copy_size(master: &Fd) {
    if let Ok((rows, columns)) = console::size(0) {
        let _ = console::set_size(master.raw(), rows, columns);
    }
}

struct Relay {
    signals: Fd,
    master: Option<Fd>,
    input_open: bool,
    pid: i32,
}

impl Relay {
    fn run(&mut self) -> Result<i32, RuntimeError> {
        // The process may have ended before SIGCHLD was blocked.
        if let Some(code) = self.reap()? {
            drain(&mut self.master);
            return Ok(code);
        }
        loop {
            let master = self.master.as_ref().map_or(-1, Fd::raw);
            let input = if self.input_open { 0 } else { -1 };
            let wanted = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
            let mut polls = [wanted(self.signals.raw()), wanted(master), wanted(input)];
            process::poll(&mut polls, -1).map_err(RuntimeError::system("poll"))?;
            if polls[1].revents != 0 {
                copy_output(&mut self.master);
            }
            if polls[2].revents != 0 {
                self.copy_input();
            }
            if polls[0].revents != 0
                && let Some(code) = self.handle_signals()?
            {
                drain(&mut self.master);
                return Ok(code);
            }
        }
    }

    fn copy_input(&mut self) {
        let Some(master) = &self.master else { return self.input_open = false };
        let mut buffer = vec![0; CHUNK];
        match file::read(0, &mut buffer) {
            Ok(0) | Err(_) => self.input_open = false,
            Ok(length) => write_all(master.raw(), &buffer[..length]),
        }
    }

    fn handle_signals(&mut self) -> Result<Option<i32>, RuntimeError> {
        while let Ok(number) = signal::read_signal(self.signals.raw()) {
            match number {
                libc::SIGCHLD => {
                    if let Some(code) = self.reap()? {
                        return Ok(Some(code));
                    }
                }
                libc::SIGWINCH => self.master.iter().for_each(copy_size),
                // Told for this process only: a terminal's job control, timers of no one, a broken pipe of ours.
                libc::SIGPIPE | libc::SIGURG => {}
                number => {
                    let _ = process::kill(self.pid, number);
                }
            }
        }
        Ok(None)
    }

    /// Waits for all children that have ended: adopted orphans too.
    fn reap(&self) -> Result<Option<i32>, RuntimeError> {
        loop {
            match process::wait(-1, true) {
                Ok(Some(exited)) if exited.pid == self.pid => return Ok(Some(exited.code)),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(errno) => return Err(RuntimeError::System { what: "wait for the process".into(), errno }),
            }
        }
    }
}

fn write_all(fd: i32, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match file::write(fd, bytes) {
            Ok(length) => bytes = &bytes[length.min(bytes.len())..],
            Err(_) => return,
        }
    }
}
