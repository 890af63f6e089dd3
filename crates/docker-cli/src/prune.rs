//! What the prune commands share: the filters, the question, the report.

use engine_api::filters::Filters;

use crate::command::{Flag, Kind, Matches, NONE, flag};
use crate::container::list::read_filters;
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::prompt::confirm;
use crate::text::size::human_size;

/// What was taken away: bytes, and text with a line end behind every name; empty text when there was nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub bytes: u64,
    pub text: String,
}

pub const FORCE: Flag = flag("force", 'f', Kind::Bool, "", "Do not prompt for confirmation");

pub const fn filter(usage: &'static str) -> Flag {
    flag("filter", NONE, Kind::Filter, "", usage)
}

impl Report {
    /// A title and names; without names there is nothing to report.
    pub fn new(title: &str, names: impl IntoIterator<Item = String>, bytes: u64) -> Self {
        let mut names = names.into_iter().peekable();
        if names.peek().is_none() {
            return Self::default();
        }
        let text = names.fold(format!("{title}:\n"), |text, name| text + &name + "\n");
        Self { bytes, text }
    }

    pub fn print(&self) -> Result<(), Failure> {
        if self.text.is_empty() { Ok(()) } else { context::print_line(&self.text) }
    }
}

/// `Total reclaimed space: 1.2MB`.
pub fn print_total(bytes: u64) -> Result<(), Failure> {
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    context::print_line(&format!("Total reclaimed space: {}", human_size(bytes)))
}

/// Whether to go on: `--force`, or yes to the question.
pub fn is_wanted(flags: &Matches, question: &str) -> Result<bool, Failure> {
    Ok(flags.is_set("force") || confirm(question)?)
}

/// The line's filters and those of the configuration; of a label and its opposite the line's stands.
pub fn filters(context: &Context, flags: &Matches) -> Result<Filters, Failure> {
    let mut filters = read_filters(flags)?;
    for (key, value) in context.config.prune_filters.iter().filter_map(|term| term.split_once('=')) {
        let opposite = match key {
            "label" => "label!",
            "label!" => "label",
            _ => "",
        };
        if !filters.values(opposite).any(|other| other == value) {
            filters.add(key, value);
        }
    }
    Ok(filters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_without_names_says_nothing_and_counts_nothing() {
        assert_eq!(Report::new("Deleted Volumes", Vec::new(), 5), Report::default());
        let some = Report::new("Deleted Volumes", vec!["a".to_owned(), "b".to_owned()], 5);
        assert_eq!((some.text.as_str(), some.bytes), ("Deleted Volumes:\na\nb\n", 5));
    }
}
