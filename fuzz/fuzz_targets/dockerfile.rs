//! A Dockerfile of a stranger: read or refused, and what is read can be checked.

#![no_main]

use dockerfile::{Dockerfile, check};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(file) = Dockerfile::parse(bytes) {
        check(&file);
    }
});
