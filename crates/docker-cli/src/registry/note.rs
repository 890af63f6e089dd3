//! Remarks that stand out, as Docker's client has them.

/// How a note looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    Coloured,
}

impl From<bool> for Style {
    fn from(is_terminal: bool) -> Self {
        if is_terminal { Self::Coloured } else { Self::Plain }
    }
}

/// A note of these lines, without the last line's end.
pub fn note(style: Style, lines: &[&str]) -> String {
    let head = match style {
        Style::Plain => " Info -> ",
        Style::Coloured => "\x1b[1m\x1b[106m\x1b[30mi\x1b[0m\x1b[0m \x1b[96mInfo → \x1b[0m\x1b[0m",
    };
    let shown = lines.iter().map(|line| match style {
        Style::Plain => (*line).to_owned(),
        Style::Coloured => format!("\x1b[3m{line}\x1b[0m"),
    });
    format!("\n{head}{}", shown.collect::<Vec<_>>().join("\n         "))
}

/// An address in a note.
pub fn link(style: Style, address: &str) -> String {
    match style {
        Style::Plain => address.to_owned(),
        Style::Coloured => format!("\x1b[4m{address}\x1b[0m"),
    }
}
