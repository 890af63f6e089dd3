//! `fork-server`: shims without executing a program for each.
//!
//! Whoever starts many containers starts this once, with a socket as stdin, and writes a line of JSON, [`Start`], for each;
//! the answer is a line of JSON, [`Started`]. A shim is a copy of this process, as it is one of the process that `start` is.
//! The end of the socket is the end of this process; the shims that it has left behind go on.
//!
//! Invariants: one thread; nothing is kept of one start for the next; a copy keeps nothing of this process but its memory.

use crate::arguments::Arguments;
use crate::start::{Left, leave};
use crate::{Error, failed_to};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// Bytes of a line.
const LINE_LIMIT: u64 = 1 << 20;

/// A shim that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    pub namespace: String,
    pub id: String,
    pub bundle: PathBuf,
    /// The runtime's options, as the stdin of `start` has them.
    pub options: Vec<u8>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Started {
    Address(String),
    Error(String),
}

pub fn run(arguments: &Arguments) -> Result<(), Error> {
    // Executed by descriptor, this would be named after the descriptor's number. No name of less than 16 bytes fails.
    let _ = sys::process::set_name(c"docker-containe");
    sys::signal::leave_children_to_kernel();
    let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(failed_to("take the socket"))?;
    let socket = UnixStream::from(stdin);
    let mut reader = BufReader::new(&socket);
    loop {
        let mut line = Vec::new();
        let read = (&mut reader).take(LINE_LIMIT).read_until(b'\n', &mut line).map_err(failed_to("read the socket"))?;
        if read == 0 {
            return Ok(());
        }
        let wanted: Start = serde_json::from_slice(&line)?;
        let arguments = arguments_of(arguments, &wanted);
        let started = match arguments
            .check_names()
            .map_err(Error::from)
            .and_then(|()| leave(&arguments, &wanted.bundle, &wanted.options))
        {
            Ok(Left::Serving(serving)) => {
                drop(reader);
                drop(socket);
                become_shim(&arguments)?;
                return serving.serve(arguments, &wanted.bundle);
            }
            Ok(Left::At(address)) => Started::Address(address),
            Err(error) => Started::Error(errors::chain(&error)),
        };
        let mut answer = serde_json::to_vec(&started)?;
        answer.push(b'\n');
        (&socket).write_all(&answer).map_err(failed_to("answer"))?;
    }
}

fn arguments_of(arguments: &Arguments, wanted: &Start) -> Arguments {
    Arguments {
        namespace: wanted.namespace.clone(),
        id: wanted.id.clone(),
        bundle: Some(wanted.bundle.clone()),
        ..arguments.clone()
    }
}

/// The copy is seen in ps as a shim that was started by itself.
fn become_shim(arguments: &Arguments) -> Result<(), Error> {
    sys::signal::reset().map_err(|errno| failed_to("reset the signals")(io::Error::from(errno)))?;
    let publish = arguments.publish_binary.as_ref().map(|path| path.as_os_str().to_owned());
    let words: [OsString; 9] = [
        arguments.program.clone(),
        "-namespace".into(),
        arguments.namespace.clone().into(),
        "-id".into(),
        arguments.id.clone().into(),
        "-address".into(),
        arguments.address.clone().into(),
        "-publish-binary".into(),
        publish.unwrap_or_default(),
    ];
    sys::arguments::show(&words);
    Ok(())
}
