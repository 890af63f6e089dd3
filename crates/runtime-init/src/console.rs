//! The container's terminal: a pair of its own devpts, whose master goes to the caller (pty(7)).

use crate::child::Failure;
use crate::message::Detail;
use crate::steps::Outcome;
use sys::file::{self, AT_EMPTY_PATH, O_CREAT, O_EXCL, O_NOCTTY, O_NOFOLLOW, O_PATH, O_RDONLY, O_RDWR};
use sys::numbered_path::NumberedPath;
use sys::{Errno, console, mount, socket};

/// statfs(2) magic of devpts.
const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;

pub fn open(
    root: i32,
    console_socket: i32,
    (rows, columns): (u16, u16),
    bind_console: bool,
    foreground: bool,
) -> Outcome {
    let resolve = file::RESOLVE_IN_ROOT | file::RESOLVE_NO_MAGICLINKS | file::RESOLVE_NO_SYMLINKS;
    let root = if root < 0 { file::openat(file::AT_FDCWD, c"/", O_PATH, 0)? } else { root };
    let master = file::openat2(root, c"dev/pts/ptmx", O_RDWR | O_NOCTTY, 0, resolve)?;
    if file::fstatfs_magic(master)? != DEVPTS_SUPER_MAGIC {
        return Err(Failure { errno: Errno::ENODEV, detail: Detail::Forbidden, number: 0 });
    }
    let terminal = console::open_peer(master)?;
    if rows != 0 || columns != 0 {
        console::set_size(master, rows, columns)?;
    }
    if foreground {
        // The caller's own terminal adds carriage returns, if it is one.
        console::clear_onlcr(terminal)?;
    }
    let name = NumberedPath::new(c"/dev/pts/", console::number(master)?);
    if bind_console {
        bind(root, terminal)?;
    }
    socket::send_fd(console_socket, name.as_c().to_bytes(), master).map_err(Failure::at(Detail::Parent))?;
    file::close(master);
    file::close(console_socket);
    for fd in 0..3 {
        file::dup2(terminal, fd)?;
    }
    if terminal > 2 {
        file::close(terminal);
    }
    Ok(console::make_controlling(0)?)
}

/// Mounts the terminal over /dev/console. The file must be one that this runtime made or a plain one: a link could lead the
/// mount to another place (CVE-2025-52565).
fn bind(root: i32, terminal: i32) -> Outcome {
    let resolve = file::RESOLVE_IN_ROOT | file::RESOLVE_NO_SYMLINKS;
    let made = file::openat2(root, c"dev/console", O_CREAT | O_EXCL | O_RDONLY | O_NOFOLLOW, 0o666, resolve);
    match made {
        Ok(fd) => file::close(fd),
        Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    let target = file::openat2(root, c"dev/console", O_PATH | O_NOFOLLOW, 0, resolve)?;
    let clone = mount::open_tree(terminal, c"", mount::OPEN_TREE_CLONE | AT_EMPTY_PATH as u32)?;
    mount::move_mount(clone, target)?;
    file::close(clone);
    file::close(target);
    Ok(())
}
