//! `-E`: variables from a file, and then nothing of this program is left.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::arguments::Options;
use crate::not_started;

/// The largest file: more than any environment may have (execve(2)).
const MAX_BYTES: u64 = 4 << 20;

/// Answers only if the command could not be started.
pub fn become_command(options: &Options, file: &OsStr) -> io::Result<u8> {
    if std::fs::metadata(file)?.len() > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file of variables is too large"));
    }
    let mut command = Command::new(&options.command);
    command.args(&options.arguments).envs(variables(&std::fs::read(file)?));
    Ok(not_started(options, &command.exec()))
}

fn variables(bytes: &[u8]) -> Vec<(OsString, OsString)> {
    let text = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
    let variable = |entry: &[u8]| {
        let at = entry.iter().position(|byte| *byte == b'=').filter(|at| *at > 0)?;
        Some((text(&entry[..at]), text(&entry[at + 1..])))
    };
    bytes.split(|byte| *byte == 0).filter_map(variable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_end_with_a_zero_byte_and_may_have_lines() {
        let found = variables(b"A=b=c\0KEY=one\ntwo\n\0EMPTY=\0=x\0");
        let pair = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
        assert_eq!(found, [pair("A", "b=c"), pair("KEY", "one\ntwo\n"), pair("EMPTY", "")]);
    }
}
