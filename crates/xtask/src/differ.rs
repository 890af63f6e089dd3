//! `xtask differ`: every case of testhost's comparison with Docker, on a host of its own.

use anyhow::Result;
use testhost::{DifferPart, DifferSelection};

/// Cases whose name contains one of the words; `--requests`, `--commands`, `--newest` and `--versions` choose parts,
/// `--quick` the cases of the short form; `--explained` shows what the table explains.
/// The programs are those of the profile `debug`; `LONGSHORE_PROGRAMS` names another folder.
pub fn differ(words: &[&str]) -> Result<()> {
    let mut selection = DifferSelection { parts: Vec::new(), ..DifferSelection::whole() };
    for word in words {
        match *word {
            "--requests" => selection.parts.push(DifferPart::Requests),
            "--commands" => selection.parts.push(DifferPart::Commands),
            "--newest" => selection.parts.push(DifferPart::Newest),
            "--versions" => selection.parts.push(DifferPart::Versions),
            "--quick" => selection.quick = true,
            "--explained" => selection.explained = true,
            word => selection.words.push(word.to_owned()),
        }
    }
    if selection.parts.is_empty() {
        selection.parts = DifferSelection::whole().parts;
    }
    testhost::in_fresh_host(&crate::programs("debug")?, |host| testhost::run_differ(host, &selection))
}
