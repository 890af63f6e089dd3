//! A `.dockerignore` and a path of a stranger.

#![no_main]

use dockerfile::IgnoreRules;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| {
    let (text, path) = input;
    if let Ok(rules) = IgnoreRules::parse(text) {
        rules.ignores(path);
        rules.has_exception_below(path);
    }
});
