//! Whether programs for other processors run here: by an emulator that the kernel knows (binfmt_misc,
//! Documentation/admin-guide/binfmt-misc.rst).

use std::path::Path;

use image_core::Platform;

const FOLDER: &str = "/proc/sys/fs/binfmt_misc";
/// The most that is read of one registration.
const MAX_ENTRY: usize = 4096;

/// What is known of programs for a platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Emulation {
    /// They are the host's own.
    Needless,
    Present,
    Missing,
    /// The kernel does not say here.
    Unknown,
}

pub(crate) fn of(platform: &Platform) -> Emulation {
    let host = Platform::host();
    if platform.architecture.is_empty() || host.rank(platform).is_some() {
        return Emulation::Needless;
    }
    registered(Path::new(FOLDER), platform)
}

fn registered(folder: &Path, platform: &Platform) -> Emulation {
    let Some(head) = elf_head(&platform.architecture) else { return Emulation::Unknown };
    // Where binfmt_misc is not mounted the folder is empty; emulators may be registered all the same.
    let Ok(status) = std::fs::read_to_string(folder.join("status")) else { return Emulation::Unknown };
    let Ok(entries) = std::fs::read_dir(folder) else { return Emulation::Unknown };
    let reads = |entry: std::fs::DirEntry| {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        text.len() <= MAX_ENTRY && matches(&text, &head)
    };
    match status.trim() == "enabled" && entries.flatten().any(reads) {
        true => Emulation::Present,
        false => Emulation::Missing,
    }
}

/// Whether a registration is for programs that begin like this.
fn matches(entry: &str, head: &[u8]) -> bool {
    let mut lines = entry.lines();
    if lines.next() != Some("enabled") {
        return false;
    }
    let value = |name: &str| entry.lines().find_map(|line| line.strip_prefix(name));
    let offset = value("offset ").and_then(|text| text.trim().parse::<usize>().ok()).unwrap_or(0);
    let Some(magic) = value("magic ").and_then(bytes) else { return false };
    let mask = value("mask ").and_then(bytes).unwrap_or_else(|| vec![0xff; magic.len()]);
    let Some(there) = head.get(offset..offset.saturating_add(magic.len())) else { return false };
    mask.len() == magic.len()
        && there.iter().zip(&mask).zip(&magic).all(|((byte, mask), magic)| byte & mask == magic & mask)
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let hex = hex.trim();
    let pair = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    (0..hex.len()).step_by(2).map(pair).collect()
}

/// The first bytes of an executable (elf(5)): what registrations look at.
fn elf_head(architecture: &str) -> Option<[u8; 20]> {
    let (bits, order, machine): (u8, u8, u16) = match architecture {
        "386" => (1, 1, 3),
        "amd64" => (2, 1, 62),
        "arm" => (1, 1, 40),
        "arm64" => (2, 1, 183),
        "loong64" => (2, 1, 258),
        "mips64le" => (2, 1, 8),
        "ppc64le" => (2, 1, 21),
        "riscv64" => (2, 1, 243),
        "s390x" => (2, 2, 22),
        _ => return None,
    };
    let mut head = [0; 20];
    head[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', bits, order, 1]);
    let executable = 2_u16;
    let word = |value: u16| if order == 1 { value.to_le_bytes() } else { value.to_be_bytes() };
    head[16..18].copy_from_slice(&word(executable));
    head[18..].copy_from_slice(&word(machine));
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARM64: &str = "enabled\ninterpreter /usr/bin/qemu-aarch64\nflags: OCF\noffset 0\n\
        magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";

    #[test]
    fn a_registration_is_for_programs_that_it_matches() {
        let head = |architecture| elf_head(architecture).unwrap();
        assert!(matches(ARM64, &head("arm64")));
        assert!(!matches(ARM64, &head("s390x")) && !matches(ARM64, &head("arm")));
        assert!(!matches(&ARM64.replacen("enabled", "disabled", 1), &head("arm64")));
        for broken in ["", "enabled", "enabled\nmagic 7f4", "enabled\nmagic zz", "enabled\noffset 99\nmagic 7f"] {
            assert!(!matches(broken, &head("arm64")), "{broken}");
        }
    }

    #[test]
    fn what_the_kernel_does_not_say_is_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let platform = Platform::new("linux", "arm64", "");
        assert_eq!(registered(folder.path(), &platform), Emulation::Unknown);
        std::fs::write(folder.path().join("status"), "enabled\n").unwrap();
        assert_eq!(registered(folder.path(), &platform), Emulation::Missing);
        std::fs::write(folder.path().join("qemu-aarch64"), ARM64).unwrap();
        assert_eq!(registered(folder.path(), &platform), Emulation::Present);
        assert_eq!(of(&Platform::host()), Emulation::Needless);
    }
}
