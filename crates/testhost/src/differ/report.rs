//! What is left to explain, as a unified diff: a minus is Docker's, a plus ours.

use super::compare::Pair;
use super::known::Judged;

pub fn print(judged: &Judged) {
    let mut shown = ("", 0, Pair::Engine);
    for difference in &judged.unexplained {
        let here = (difference.case.as_str(), difference.number, difference.pair);
        if here != shown {
            let (theirs, ours) = match difference.pair {
                Pair::Engine => ("Docker's engine", "our engine"),
                Pair::Client => ("Docker's client", "our client"),
                Pair::Reference => ("API reference", "our answer"),
            };
            println!("\n--- {theirs}: {}\n+++ {ours}: {}", difference.case, difference.case);
            println!("@@ {} {} @@", difference.number, difference.step);
            shown = here;
        }
        let versions = match difference.versions.as_slice() {
            [] => String::new(),
            [only] => format!(" ({only})"),
            [first, .., last] => format!(" ({first} to {last})"),
        };
        println!(" {}{versions}", difference.at);
        for (sign, text) in [('-', &difference.theirs), ('+', &difference.ours)] {
            for line in text.lines() {
                println!("{sign}{line}");
            }
        }
    }
    println!("\n{} differences explained, {} not", judged.explained, judged.unexplained.len());
}
