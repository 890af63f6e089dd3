//! What is left to explain, as a unified diff: a minus is Docker's, a plus ours.

use super::compare::{Difference, Pair};
use super::known::Judged;

/// How much of an explained difference is shown.
const SHORT: usize = 200;

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

/// Row by row what the table explains: where, Docker's and ours.
pub fn print_explained(rows: &[(String, Vec<Difference>)]) {
    for (row, differences) in rows {
        println!("\n== {} of {row}", differences.len());
        for difference in differences {
            let Difference { case, number, step, at, ours, theirs, .. } = difference;
            let step: String = step.chars().take(SHORT).collect();
            println!("{case} {number} {step}\n  {at}\n  - {}\n  + {}", short(theirs), short(ours));
        }
    }
}

fn short(text: &str) -> String {
    text.trim_end().replace('\n', "\\n").chars().take(SHORT).collect()
}
