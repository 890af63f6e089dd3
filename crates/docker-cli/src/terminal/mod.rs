//! The terminal in front of the user. Unix-only code of this crate stands here.

mod raw;
pub mod signals;

use rustix::fd::BorrowedFd;
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{isatty, tcgetwinsize};

pub use raw::{HiddenInput, RawMode};

/// Rows, then columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub height: u32,
    pub width: u32,
}

pub fn stdin_is_terminal() -> bool {
    isatty(stdin())
}

pub fn stdout_is_terminal() -> bool {
    isatty(stdout())
}

pub fn stderr_is_terminal() -> bool {
    isatty(stderr())
}

/// The size of the terminal behind standard output; `None` without one.
pub fn size() -> Option<Size> {
    size_of(stdout())
}

/// The same of the terminal behind standard error: where a build's progress goes.
pub fn error_size() -> Option<Size> {
    size_of(stderr())
}

/// The same of the terminal behind standard input: pages that go into a pager are made for it.
pub fn input_size() -> Option<Size> {
    size_of(stdin())
}

fn size_of(fd: BorrowedFd<'_>) -> Option<Size> {
    let size = tcgetwinsize(fd).ok()?;
    let size = Size { height: u32::from(size.ws_row), width: u32::from(size.ws_col) };
    (size.height > 0 || size.width > 0).then_some(size)
}
