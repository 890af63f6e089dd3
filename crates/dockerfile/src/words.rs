//! Words of a line: separated by blanks, quotes and escapes kept as they are for whoever expands them.

use crate::lines::is_blank;

/// Splits at blanks outside of quotes (parseWords of Docker's parser).
pub(crate) fn split(text: &str, escape: u8) -> Vec<String> {
    let escape = char::from(escape);
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match quote {
            None if is_blank(c) || c == '\n' => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        word.push(c);
        // In single quotes nothing escapes.
        if c == escape && quote != Some('\'') {
            word.extend(characters.next());
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// A JSON array with something in it that is no string.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotStrings;

/// `["a", "b"]`, or nothing that a JSON array would be.
pub(crate) fn json_array(text: &str) -> Result<Option<Vec<String>>, NotStrings> {
    if !text.trim_start().starts_with('[') {
        return Ok(None);
    }
    let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(text) else { return Ok(None) };
    let string = |value| match value {
        serde_json::Value::String(text) => Ok(text),
        _ => Err(NotStrings),
    };
    values.into_iter().map(string).collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_escapes_keep_blanks_together() {
        assert_eq!(split("a \"b c\"d  'e\\' f\\ g", b'\\'), ["a", "\"b c\"d", "'e\\'", "f\\ g"]);
        assert_eq!(split("  ", b'\\'), Vec::<String>::new());
        assert_eq!(split("a\\", b'\\'), ["a\\"]);
    }

    #[test]
    fn an_array_is_of_strings_or_it_is_a_mistake() {
        assert_eq!(json_array(" [\"a\", \"b\"] "), Ok(Some(vec!["a".to_owned(), "b".to_owned()])));
        assert_eq!(json_array("[\"a\", "), Ok(None));
        assert_eq!(json_array("['a']"), Ok(None));
        for text in ["[1]", "[\"a\", null]", "[[]]"] {
            assert_eq!(json_array(text), Err(NotStrings), "{text}");
        }
    }
}
