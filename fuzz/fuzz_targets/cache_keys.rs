//! Keys of steps: equal when what a step reads is, and only then. Lists of steps of another engine: read or refused, and what
//! is read comes back when it is written.

#![no_main]

use build_core::{KeyMaker, read_cache_config, write_cache_config};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<Vec<u8>>, Vec<Vec<u8>>, &[u8])| {
    let (one, other, list) = input;
    let key = |fields: &[Vec<u8>]| KeyMaker::new("step").fields(fields).finish();
    assert_eq!(key(&one) == key(&other), one == other);
    // Fields that are told one by one and as a list are different steps.
    let told = one.iter().fold(KeyMaker::new("step"), |key, field| key.field(field)).finish();
    assert_ne!(told, key(&one));
    if let Ok(steps) = read_cache_config(list) {
        let again = read_cache_config(&write_cache_config(&steps)).expect("what was written is read");
        assert_eq!(again.len(), steps.len());
    }
});
