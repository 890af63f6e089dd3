//! Here-documents of RUN, COPY and ADD (`<<EOF`, `<<-EOF`, `<<"EOF"`).

use crate::words;

/// A text within a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The line that ends it; the file's name for COPY and ADD.
    pub name: String,
    /// The descriptor before the arrows; 0 without one.
    pub descriptor: u32,
    /// Variables are expanded: the name stood in no quotes.
    pub expand: bool,
    /// `<<-`: tabs at the beginning of its lines are no part of it.
    pub chomp: bool,
    pub content: String,
}

/// Instructions whose words may announce one.
pub(crate) fn takes_them(keyword: &str, rest: &str) -> bool {
    let keyword = keyword.to_ascii_uppercase();
    match keyword.as_str() {
        "RUN" | "COPY" | "ADD" => rest.contains("<<"),
        "ONBUILD" => {
            let (inner, rest) = rest.split_once(crate::lines::is_blank).unwrap_or((rest, ""));
            !inner.eq_ignore_ascii_case("onbuild") && takes_them(inner, rest)
        }
        _ => false,
    }
}

/// Those that a line announces, without their content.
pub(crate) fn announced(rest: &str, escape: u8) -> Vec<Heredoc> {
    words::split(rest, escape).iter().filter_map(|word| parse(word)).collect()
}

/// `3<<-"EOF"`; `None` for a word that is something else.
pub(crate) fn parse(word: &str) -> Option<Heredoc> {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let descriptor = if digits == 0 { 0 } else { word[..digits].parse().ok()? };
    let rest = word[digits..].strip_prefix("<<")?;
    let (chomp, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
    if rest.is_empty() || rest.contains('<') {
        return None;
    }
    let name: String = rest.chars().filter(|c| !matches!(c, '"' | '\'')).collect();
    if name.is_empty() {
        return None;
    }
    let expand = name.len() == rest.len();
    Some(Heredoc { name, descriptor, expand, chomp, content: String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_arrow_with_a_name_announces_a_document() {
        for word in ["<<", "<<<x", "a<<b", "<<-", "<<a<b", "<<''"] {
            assert_eq!(parse(word), None, "{word}");
        }
        let found = parse("3<<-\"E F\"").unwrap();
        assert_eq!((found.descriptor, found.name.as_str(), found.expand, found.chomp), (3, "E F", false, true));
        assert!(parse("<<EOF").unwrap().expand);
    }
}
