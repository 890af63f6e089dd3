//! Modes as Go writes them (os.FileMode), which is what travels.

pub const FOLDER: u32 = 1 << 31;
pub const SYMLINK: u32 = 1 << 27;
pub const DEVICE: u32 = 1 << 26;
pub const FIFO: u32 = 1 << 25;
pub const SOCKET: u32 = 1 << 24;
const SET_UID: u32 = 1 << 23;
const SET_GID: u32 = 1 << 22;
pub const CHARACTER: u32 = 1 << 21;
const STICKY: u32 = 1 << 20;
const IRREGULAR: u32 = 1 << 19;
/// Everything that makes a file something else than plain bytes.
pub const TYPE: u32 = FOLDER | SYMLINK | DEVICE | FIFO | SOCKET | CHARACTER | IRREGULAR;

const BITS: [(u32, u32); 3] = [(SET_UID, 0o4000), (SET_GID, 0o2000), (STICKY, 0o1000)];

/// The permissions of a mode that travelled, in Unix's bits.
pub fn permissions(mode: u32) -> u32 {
    BITS.iter().filter(|(go, _)| mode & go != 0).fold(mode & 0o777, |bits, (_, unix)| bits | unix)
}

/// Permissions of Unix in Go's bits; the type is added by its owner.
pub(crate) fn of_permissions(mode: u32) -> u32 {
    BITS.iter().filter(|(_, unix)| mode & unix != 0).fold(mode & 0o777, |bits, (go, _)| bits | go)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_come_back() {
        for mode in [0, 0o644, 0o4755, 0o2755, 0o1777, 0o7777] {
            assert_eq!(permissions(of_permissions(mode)), mode, "{mode:o}");
        }
        assert_eq!(permissions(FOLDER | 0o755), 0o755);
    }
}
