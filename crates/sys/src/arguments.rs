//! What ps shows as this process's command line (proc(5), /proc/PID/cmdline).

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// Shows other words from now on, as far as there is room for them in the memory of those that this program was executed
/// with. For a process with one thread that has read its own arguments and asks for them no more.
pub fn show(words: &[OsString]) {
    let Some((start, end)) = place() else { return };
    let room = end - start;
    let bytes = words.iter().flat_map(|word| word.as_bytes().iter().copied().chain([0]));
    // The last byte stays zero: the kernel takes another one for a title that goes on in the environment.
    let bytes: Vec<u8> = bytes.take(room - 1).chain(std::iter::repeat(0)).take(room).collect();
    // SAFETY: the kernel says that the arguments of this process lie there, which are writable memory of its stack; nothing
    // of this program refers to them, since the standard library copies what it answers.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), std::ptr::with_exposed_provenance_mut(start), room) };
}

/// arg_start and arg_end of proc(5), stat: the name in parentheses may hold anything, so from behind it.
fn place() -> Option<(usize, usize)> {
    const ARG_START: usize = 48;
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, behind) = text.rsplit_once(')')?;
    // The first field behind it is the third.
    let mut fields = behind.split_whitespace().skip(ARG_START - 3).map(str::parse::<usize>);
    let (start, end) = (fields.next()?.ok()?, fields.next()?.ok()?);
    (start > 0 && start < end).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_words_are_shown_as_far_as_there_is_room() {
        let cmdline = || std::fs::read("/proc/self/cmdline").expect("cmdline");
        let room = cmdline().len();
        show(&["a".into(), "b c".into()]);
        assert!(cmdline().starts_with(b"a\0b c\0"));
        show(&["x".repeat(room * 2).into()]);
        let shown = cmdline();
        assert_eq!((shown.len(), shown.last()), (room, Some(&0)));
    }
}
