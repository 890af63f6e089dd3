//! The text of `dockerd --help`, laid out as pflag does.

use super::table::{Kind, OPTIONS, Opt};

/// Where the output is no terminal.
const WIDTH: usize = 80;
/// Below this many columns for descriptions, they get a fixed indent.
const NARROW: usize = 24;
const NARROW_INDENT: usize = 16;
/// A line may be this much longer than its share before it is broken.
const SLOP: usize = 5;

/// For a terminal of this width.
pub fn help(width: Option<usize>) -> String {
    let rows = rows();
    let indent = rows.iter().map(|(head, _)| head.len()).max().unwrap_or_default() + 3;
    let width = width.unwrap_or(WIDTH).saturating_sub(1);
    let mut text =
        String::from("\nUsage:\tdockerd [OPTIONS]\n\nA self-sufficient runtime for containers.\n\nOptions:\n");
    for (head, description) in rows {
        text.push_str(&format!("{head:indent$}{}\n", wrap(&description, indent, width)));
    }
    text
}

fn rows() -> Vec<(String, String)> {
    let mut rows: Vec<(&str, String, String)> = OPTIONS
        .iter()
        .filter(|option| !option.is_hidden())
        .map(|option| (option.flag, head(option), description(option)))
        .collect();
    rows.push(("help", "      --help".to_owned(), "Print usage".to_owned()));
    rows.push(("version", "  -v, --version".to_owned(), "Print version information and quit".to_owned()));
    rows.sort_by_key(|(flag, ..)| *flag);
    rows.into_iter().map(|(_, head, description)| (head, description)).collect()
}

fn head(option: &Opt) -> String {
    let short = option.short.map_or_else(|| "    ".to_owned(), |letter| format!("-{letter}, "));
    let word = if option.kind == Kind::Switch { String::new() } else { format!(" {}", option.kind.word()) };
    format!("  {short}--{}{word}", option.flag)
}

fn description(option: &Opt) -> String {
    match option.default {
        "" => option.help.to_owned(),
        default => format!("{} (default {default})", option.help),
    }
}

fn wrap(text: &str, indent: usize, width: usize) -> String {
    let (indent, start) = if width.saturating_sub(indent) < NARROW { (NARROW_INDENT, "\n") } else { (indent, "") };
    let Some(share) = width.checked_sub(indent).filter(|share| *share >= NARROW) else { return text.to_owned() };
    let between = format!("\n{}", " ".repeat(indent));
    let mut wrapped = if start.is_empty() { String::new() } else { between.clone() };
    let mut rest = text;
    loop {
        let (line, more) = first_line(rest, share - SLOP);
        wrapped.push_str(line);
        if more.is_empty() {
            return wrapped;
        }
        wrapped.push_str(&between);
        rest = more;
    }
}

fn first_line(text: &str, limit: usize) -> (&str, &str) {
    if text.len() < limit + SLOP {
        return (text, "");
    }
    match text.get(..limit).and_then(|head| head.rfind(' ')) {
        Some(at) if at > 0 => (&text[..at], &text[at + 1..]),
        _ => (text, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_terminal_has_an_option_a_line_in_docker_s_columns() {
        let text = help(Some(400));
        for line in [
            "      --add-runtime runtime                   Register an additional OCI compatible runtime (default [])",
            "      --containerd-plugins-namespace string   Containerd namespace to use for plugins (default \"plugins.moby\")",
            "  -D, --debug                                 Enable debug mode",
            "      --default-address-pool pool-options     Default address pools for node specific local networks",
            "      --help                                  Print usage",
            "  -v, --version                               Print version information and quit",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("api-cors-header") && !text.contains("--restart"));
    }

    #[test]
    fn a_narrow_one_breaks_descriptions_at_words() {
        let text = help(Some(80));
        for block in [
            "      --authorization-plugin list             Authorization plugins to load\n",
            "      --cri-containerd                        start containerd with cri\n",
            "      --containerd-namespace string           Containerd namespace to use\n                                              (default \"moby\")\n",
        ] {
            assert!(text.contains(block), "{block}\n{text}");
        }
        // Where there is no room beside the flags, descriptions go below them.
        assert!(
            help(Some(60))
                .contains("  -D, --debug                                 \n                Enable debug mode\n"),
            "{}",
            help(Some(60))
        );
    }
}
