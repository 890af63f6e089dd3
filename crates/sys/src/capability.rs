//! Capabilities of this process: capget(2), capset(2) and their prctl(2) options (capabilities(7)).

use crate::Result;
use crate::errno::{check_fd, check_unit};

const VERSION_3: u32 = 0x2008_0522;
/// The kernel's own upper bound of a capability set.
const HIGHEST: u32 = 63;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Sets as bits: bit n is capability n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sets {
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
}

pub fn get() -> Result<Sets> {
    let header = Header { version: VERSION_3, pid: 0 };
    let mut halves = [Half::default(); 2];
    // SAFETY: header and the two halves outlive the call, version 3 has two.
    check_unit(unsafe { libc::syscall(libc::SYS_capget, &raw const header, halves.as_mut_ptr()) })?;
    let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    Ok(Sets {
        effective: join(halves[0].effective, halves[1].effective),
        permitted: join(halves[0].permitted, halves[1].permitted),
        inheritable: join(halves[0].inheritable, halves[1].inheritable),
    })
}

pub fn set(sets: Sets) -> Result<()> {
    let header = Header { version: VERSION_3, pid: 0 };
    let half = |shift: u32| Half {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    let halves = [half(0), half(32)];
    // SAFETY: header and the two halves outlive the call, version 3 has two.
    check_unit(unsafe { libc::syscall(libc::SYS_capset, &raw const header, halves.as_ptr()) })
}

/// The bounding set, and by its length the highest capability that the kernel knows.
pub fn bounding() -> u64 {
    let mut set = 0;
    for capability in 0..=HIGHEST {
        // SAFETY: no memory is passed.
        match unsafe { libc::prctl(libc::PR_CAPBSET_READ, u64::from(capability), 0, 0, 0) } {
            1 => set |= 1 << capability,
            0 => {}
            _ => break,
        }
    }
    set
}

pub fn drop_bounding(capability: u32) -> Result<()> {
    // SAFETY: no memory is passed.
    check_unit(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, u64::from(capability), 0, 0, 0) }.into())
}

pub fn clear_ambient() -> Result<()> {
    // SAFETY: no memory is passed.
    check_unit(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64, 0, 0, 0) }.into())
}

pub fn raise_ambient(capability: u32) -> Result<()> {
    let raise = libc::PR_CAP_AMBIENT_RAISE as u64;
    // SAFETY: no memory is passed.
    check_fd(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, raise, u64::from(capability), 0, 0) }.into()).map(|_| ())
}
