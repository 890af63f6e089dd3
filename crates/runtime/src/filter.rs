//! `ROOT/ID/seccomp.bpf`: the compiled filter of a container, for its execs.

use crate::RuntimeError;
use runtime_core::seccomp::{self, Filter};
use std::fs;
use std::path::Path;

/// Eight bytes an instruction, as the kernel has them.
pub fn save(path: &Path, filter: &Filter) -> Result<(), RuntimeError> {
    let mut bytes = Vec::with_capacity(filter.program.len() * 8);
    for i in &filter.program {
        bytes.extend_from_slice(&i.code.to_ne_bytes());
        bytes.extend_from_slice(&[i.jump_true, i.jump_false]);
        bytes.extend_from_slice(&i.operand.to_ne_bytes());
    }
    fs::write(path, bytes).map_err(RuntimeError::file(format!("cannot write {}", path.display())))
}

/// The filter of a running container; `None` when it has none.
pub fn load(path: &Path, flags: u64) -> Result<Option<Filter>, RuntimeError> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(RuntimeError::file(format!("cannot read {}", path.display())))?,
    };
    let instruction = |chunk: &[u8]| seccomp::Instruction {
        code: u16::from_ne_bytes([chunk[0], chunk[1]]),
        jump_true: chunk[2],
        jump_false: chunk[3],
        operand: u32::from_ne_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]),
    };
    Ok(Some(Filter { program: bytes.chunks_exact(8).map(instruction).collect(), flags }))
}
