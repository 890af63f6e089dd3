//! Words of an instruction: quotes, escapes and `$VARIABLE`s, as Dockerfiles have them.

use crate::ImageError;

/// Splits at blanks outside quotes; quotes and escapes stay in the words.
pub(crate) fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '\\') => {
                word.push(c);
                word.extend(characters.next());
                continue;
            }
            _ => {}
        }
        word.push(c);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Removes quotes and escapes and puts in the values of variables. `env` has entries `NAME=value`, the last one counts.
pub(crate) fn expand(word: &str, env: &[String]) -> Result<String, ImageError> {
    let mut expanded = String::new();
    let mut quote = None;
    let mut rest = word;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, '\\') => rest = take_one(rest, &mut expanded),
            // Within double quotes only what means something can be escaped.
            (Some('"'), '\\') if rest.starts_with(['"', '$', '\\']) => rest = take_one(rest, &mut expanded),
            (None | Some('"'), '$') => rest = variable(rest, env, &mut expanded)?,
            _ => expanded.push(c),
        }
    }
    match quote {
        Some(_) => {
            Err(ImageError::Change(format!("unexpected end of statement while looking for matching quote: {word}")))
        }
        None => Ok(expanded),
    }
}

fn take_one<'a>(rest: &'a str, expanded: &mut String) -> &'a str {
    match rest.chars().next() {
        Some(c) => {
            expanded.push(c);
            &rest[c.len_utf8()..]
        }
        None => rest,
    }
}

/// Behind a dollar: `NAME`, `{NAME}`, `{NAME:-default}`, `{NAME:+instead}`. Answers what is behind it.
fn variable<'a>(rest: &'a str, env: &[String], expanded: &mut String) -> Result<&'a str, ImageError> {
    let value = |name: &str| {
        let named = |entry: &'_ String| entry.split_once('=').filter(|(n, _)| *n == name).map(|(_, v)| v.to_owned());
        env.iter().rev().find_map(named).unwrap_or_default()
    };
    let Some(braced) = rest.strip_prefix('{') else {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        match &rest[..end] {
            "" => expanded.push('$'),
            name => expanded.push_str(&value(name)),
        }
        return Ok(&rest[end..]);
    };
    let (inside, behind) =
        braced.split_once('}').ok_or_else(|| ImageError::Change(format!("syntax error: missing '}}': ${rest}")))?;
    let (name, modifier) = inside.split_once(':').unwrap_or((inside, ""));
    let found = value(name);
    match modifier.split_at_checked(1) {
        None if modifier.is_empty() => expanded.push_str(&found),
        Some(("-", default)) if found.is_empty() => expanded.push_str(default),
        Some(("-", _)) => expanded.push_str(&found),
        Some(("+", instead)) => expanded.push_str(if found.is_empty() { "" } else { instead }),
        _ => return Err(ImageError::Change(format!("unsupported modifier in substitution: {inside}"))),
    }
    Ok(behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_at_blanks_outside_quotes() {
        assert_eq!(split(r#"a="b c"  d\ e 'f g'"#), [r#"a="b c""#, r"d\ e", "'f g'"]);
        assert!(split("  ").is_empty());
    }

    #[test]
    fn variables_stand_for_their_values() {
        let env = ["A=1".to_owned(), "A=2".to_owned()];
        for (word, expected) in [
            ("$A/x", "2/x"),
            ("${A}b", "2b"),
            ("${B:-d}", "d"),
            ("${A:+set}", "set"),
            ("${B:+set}", ""),
            (r"\$A", "$A"),
            ("'$A'", "$A"),
            (r#""$A b\"""#, "2 b\""),
            ("$", "$"),
        ] {
            assert_eq!(expand(word, &env).unwrap(), expected, "{word}");
        }
        assert!(expand("${A", &env).is_err());
        assert!(expand("\"a", &env).is_err());
    }
}
