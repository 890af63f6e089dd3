//! Compiled filters, kept: one file for each profile that was ever compiled, and a link to it for each container and its execs.
//!
//! To read and compile Docker's default profile takes as long as to make all control groups of a container, and most
//! containers have the same one. `ROOT/:filters/KEY` holds a profile's text and its filter. The key is a number from a
//! hash that anyone can collide: what counts is that the text is the same, and that this same program has compiled it.
//! `ROOT/ID/seccomp.bpf` is a link to such a file, or one of its own where the profile cannot be kept.

use crate::record::FILTER;
use crate::{Root, RuntimeError};
use runtime_core::seccomp::{self, Arch, Filter, Instruction, Listener};
use runtime_core::spec::Seccomp;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// No id of a container: those have no colon.
const KEPT: &str = ":filters";
/// Profiles that are kept.
const MAX_KEPT: usize = 32;
/// A profile above this is compiled each time.
const MAX_TEXT: usize = 1 << 20;
/// The filter's flags and the length of the text, eight bytes each.
const HEADER: usize = 16;
const INSTRUCTION: usize = 8;

/// What became of a profile.
#[derive(Debug)]
pub struct Compiled {
    pub filter: Filter,
    pub listener: Option<Listener>,
    /// The file that has both.
    kept: Option<PathBuf>,
    text: String,
}

/// The filter of a profile, given as its text.
pub fn compile(root: &Root, text: &str) -> Result<Compiled, RuntimeError> {
    let place = (text.len() <= MAX_TEXT).then(|| place(root, text)).flatten();
    let known = place.as_ref().and_then(|place| read(&fs::read(place).ok()?, Some(text)));
    if let Some(filter) = known {
        return Ok(Compiled { filter, listener: None, kept: place, text: String::new() });
    }
    let profile = Seccomp::read(text)?;
    let filter = seccomp::compile(&profile, Arch::host())?;
    let listener = seccomp::listener(&profile);
    // Whoever listens is not part of the file.
    let kept = place.filter(|place| listener.is_none() && keep(place, &write(text, &filter)).is_ok());
    Ok(Compiled { filter, listener, kept, text: text.to_owned() })
}

impl Compiled {
    /// Leaves it in a container's folder, for its execs.
    pub fn save(&self, folder: &Path) -> Result<(), RuntimeError> {
        let path = folder.join(FILTER);
        if self.kept.as_ref().is_some_and(|kept| fs::hard_link(kept, &path).is_ok()) {
            return Ok(());
        }
        let bytes = write(&self.text, &self.filter);
        fs::write(&path, bytes).map_err(RuntimeError::file(format!("cannot write {}", path.display())))
    }
}

/// The filter of a running container; `None` when it has none.
pub fn load(folder: &Path) -> Result<Option<Filter>, RuntimeError> {
    let path = folder.join(FILTER);
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(RuntimeError::file(format!("cannot read {}", path.display())))?,
    };
    let broken = || RuntimeError::InvalidArgument(format!("{} is no filter", path.display()));
    read(&bytes, None).map(Some).ok_or_else(broken)
}

/// Another program may compile the same text to something else: it has files of its own.
fn place(root: &Root, text: &str) -> Option<PathBuf> {
    let program = fs::metadata("/proc/self/exe").ok()?;
    let mut key = DefaultHasher::new();
    (program.dev(), program.ino(), program.ctime(), program.ctime_nsec(), text).hash(&mut key);
    Some(root.path().join(KEPT).join(format!("{:016x}", key.finish())))
}

fn write(text: &str, filter: &Filter) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + text.len() + filter.program.len() * INSTRUCTION);
    bytes.extend_from_slice(&filter.flags.to_ne_bytes());
    bytes.extend_from_slice(&(text.len() as u64).to_ne_bytes());
    bytes.extend_from_slice(text.as_bytes());
    for i in &filter.program {
        bytes.extend_from_slice(&i.code.to_ne_bytes());
        bytes.extend_from_slice(&[i.jump_true, i.jump_false]);
        bytes.extend_from_slice(&i.operand.to_ne_bytes());
    }
    bytes
}

/// The filter of a file, if it is that of `text`, or whatever its text is.
fn read(bytes: &[u8], text: Option<&str>) -> Option<Filter> {
    let (flags, rest) = bytes.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<8>()?;
    let (its_text, program) = rest.split_at_checked(usize::try_from(u64::from_ne_bytes(*length)).ok()?)?;
    if text.is_some_and(|text| text.as_bytes() != its_text) || program.len() % INSTRUCTION != 0 {
        return None;
    }
    let instruction = |chunk: &[u8]| Instruction {
        code: u16::from_ne_bytes([chunk[0], chunk[1]]),
        jump_true: chunk[2],
        jump_false: chunk[3],
        operand: u32::from_ne_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]),
    };
    let program = program.chunks_exact(INSTRUCTION).map(instruction).collect();
    Some(Filter { program, flags: u64::from_ne_bytes(*flags) })
}

/// Writes a file that nobody sees half, and lets go of the oldest where there are too many.
fn keep(place: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = place.parent().ok_or(io::ErrorKind::InvalidInput)?;
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let mut others: Vec<(i64, i64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder)?.flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        others.push((metadata.mtime(), metadata.mtime_nsec(), entry.path()));
    }
    others.sort();
    for (_, _, oldest) in others.iter().take((others.len() + 1).saturating_sub(MAX_KEPT)) {
        // Containers have links of their own.
        let _ = fs::remove_file(oldest);
    }
    let new = folder.join(format!("new-{}", std::process::id()));
    // In another PID namespace somebody may have the same number: the file is one writer's alone.
    fs::File::create_new(&new)?.write_all(bytes)?;
    fs::rename(&new, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(errno: u32) -> String {
        format!(
            r#"{{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":{errno},"syscalls":[{{"names":["read"],"action":"SCMP_ACT_ALLOW"}}]}}"#
        )
    }

    fn root(folder: &tempfile::TempDir) -> Root {
        Root::new(folder.path().to_owned())
    }

    fn kept(root: &Root) -> Vec<PathBuf> {
        let folder = fs::read_dir(root.path().join(KEPT)).expect("the folder");
        folder.map(|entry| entry.expect("an entry").path()).collect()
    }

    #[test]
    fn a_profile_is_compiled_once_and_lives_on_in_its_containers() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = root(&folder);
        let container = root.claim("a").expect("claimed");
        let first = compile(&root, &profile(1)).expect("compiles");
        let [file] = kept(&root).try_into().expect("one file");
        let again = compile(&root, &profile(1)).expect("compiles");
        assert_eq!((&again.filter, again.text.as_str()), (&first.filter, ""), "the second is read");
        again.save(&container).expect("saved");
        assert_eq!(fs::metadata(&file).expect("the file").nlink(), 2);
        fs::remove_file(&file).expect("removed");
        assert_eq!(load(&container).expect("loads"), Some(first.filter));
        assert_eq!(root.ids().expect("ids"), ["a"]);
    }

    #[test]
    fn a_file_of_another_profile_or_of_nothing_is_not_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = root(&folder);
        let wanted = compile(&root, &profile(1)).expect("compiles").filter;
        let place = place(&root, &profile(1)).expect("a place");
        let other = compile(&root, &profile(2)).expect("compiles").filter;
        let whole = write(&profile(1), &wanted);
        for bytes in [write(&profile(2), &other), Vec::new(), whole[..whole.len() - 1].to_vec(), vec![0xff; 64]] {
            fs::write(&place, bytes).expect("written");
            assert_eq!(compile(&root, &profile(1)).expect("compiles").filter, wanted);
        }
    }

    #[test]
    fn only_so_many_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = root(&folder);
        for errno in 1..=MAX_KEPT as u32 + 5 {
            compile(&root, &profile(errno)).expect("compiles");
        }
        assert_eq!(kept(&root).len(), MAX_KEPT);
    }

    #[test]
    fn what_cannot_be_kept_is_compiled() {
        let root = Root::new("/proc/nowhere".into());
        let compiled = compile(&root, &profile(1)).expect("compiles");
        let folder = tempfile::tempdir().expect("a folder");
        compiled.save(folder.path()).expect("saved");
        assert_eq!(load(folder.path()).expect("loads"), Some(compiled.filter));
        assert!(compile(&root, "{\"defaultAction\":7}").is_err());
        assert_eq!(load(Path::new("/nonexistent")).expect("loads"), None);
    }
}
