//! Pseudo-terminals by descriptor (pty(7), ioctl_tty(2)).

use crate::Result;
use crate::errno::{check_fd, check_unit};
use std::os::fd::RawFd;

/// Unlocks a master and opens its other end without a path (TIOCGPTPEER), so that no file of the container's is trusted.
pub fn open_peer(master: RawFd) -> Result<RawFd> {
    let unlock: libc::c_int = 0;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the integer outlives the call; the second request takes flags by value.
    unsafe {
        check_unit(libc::ioctl(master, libc::TIOCSPTLCK, &raw const unlock).into())?;
        check_fd(libc::ioctl(master, libc::TIOCGPTPEER, flags).into())
    }
}

/// The number N of /dev/pts/N.
pub fn number(master: RawFd) -> Result<u32> {
    let mut number: libc::c_uint = 0;
    // SAFETY: the integer outlives the call.
    check_unit(unsafe { libc::ioctl(master, libc::TIOCGPTN, &raw mut number) }.into())?;
    Ok(number)
}

pub fn set_size(terminal: RawFd, rows: u16, columns: u16) -> Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the structure outlives the call.
    check_unit(unsafe { libc::ioctl(terminal, libc::TIOCSWINSZ, &raw const size) }.into())
}

/// Rows and columns.
pub fn size(terminal: RawFd) -> Result<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the structure outlives the call.
    check_unit(unsafe { libc::ioctl(terminal, libc::TIOCGWINSZ, &raw mut size) }.into())?;
    Ok((size.ws_row, size.ws_col))
}

/// Makes the terminal the controlling one of this session.
pub fn make_controlling(terminal: RawFd) -> Result<()> {
    // SAFETY: the argument is a number.
    check_unit(unsafe { libc::ioctl(terminal, libc::TIOCSCTTY, 0) }.into())
}

/// Output processing without the carriage return that a new pseudo-terminal adds (`onlcr`), as runtimes hand it over.
pub fn clear_onlcr(terminal: RawFd) -> Result<()> {
    let mut settings = get(terminal)?;
    settings.c_oflag &= !libc::ONLCR;
    set(terminal, &settings)
}

pub fn is_terminal(fd: RawFd) -> bool {
    get(fd).is_ok()
}

pub fn get(terminal: RawFd) -> Result<libc::termios> {
    let mut settings = std::mem::MaybeUninit::<libc::termios>::zeroed();
    // SAFETY: the structure is filled by the call and is plain data.
    unsafe {
        check_unit(libc::tcgetattr(terminal, settings.as_mut_ptr()).into())?;
        Ok(settings.assume_init())
    }
}

pub fn set(terminal: RawFd, settings: &libc::termios) -> Result<()> {
    // SAFETY: the structure outlives the call.
    check_unit(unsafe { libc::tcsetattr(terminal, libc::TCSANOW, settings) }.into())
}

/// Switches a terminal to raw mode and answers its settings before.
pub fn make_raw(terminal: RawFd) -> Result<libc::termios> {
    let before = get(terminal)?;
    let mut raw = before;
    // SAFETY: the structure outlives the call.
    unsafe { libc::cfmakeraw(&raw mut raw) };
    set(terminal, &raw)?;
    Ok(before)
}
