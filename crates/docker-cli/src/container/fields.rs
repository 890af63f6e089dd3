//! Comma-separated fields with quotes (RFC 4180), and what is said of those that are broken.

const QUOTE: &str = "extraneous or missing \" in quoted-field";
const BARE_QUOTE: &str = "bare \" in non-quoted field";

/// The fields of the first line. Quotes around a field keep its commas; two of them are one.
pub fn comma_fields(text: &str) -> Result<Vec<String>, String> {
    let refused = |column: usize, reason: &str| Err(format!("parse error on line 1, column {column}: {reason}"));
    let text = text.trim_start_matches(['\n', '\r']);
    if text.is_empty() {
        return Err("EOF".to_owned());
    }
    let mut fields = Vec::new();
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let Some(quoted) = rest.strip_prefix('"') else {
            let end = rest.find([',', '\n']).unwrap_or(rest.len());
            let field = &rest[..end];
            if let Some(quote) = field.find('"') {
                return refused(at + quote + 1, BARE_QUOTE);
            }
            fields.push(field.strip_suffix('\r').unwrap_or(field).to_owned());
            match rest.as_bytes().get(end) {
                Some(b',') => at += end + 1,
                _ => return Ok(fields),
            }
            continue;
        };
        let (field, length) = match quoted_field(quoted) {
            Some(found) => found,
            None => return refused(text.len() + 1, QUOTE),
        };
        fields.push(field);
        let behind = at + 1 + length;
        match text.as_bytes().get(behind) {
            None | Some(b'\n') => return Ok(fields),
            Some(b',') => at = behind + 1,
            Some(_) => return refused(behind, QUOTE),
        }
    }
}

/// A field and the bytes up to behind its closing quote.
fn quoted_field(text: &str) -> Option<(String, usize)> {
    let mut field = String::new();
    let mut at = 0;
    loop {
        let end = at + text[at..].find('"')?;
        field.push_str(&text[at..end]);
        if !text[end + 1..].starts_with('"') {
            return Some((field, end + 1));
        }
        field.push('"');
        at = end + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_commas() {
        assert_eq!(comma_fields("a,b=c,").unwrap(), ["a", "b=c", ""]);
        assert_eq!(comma_fields("\"a,b\",\"c\"\"d\"").unwrap(), ["a,b", "c\"d"]);
        assert_eq!(comma_fields("a\nb").unwrap(), ["a"]);
    }

    #[test]
    fn broken_quotes_are_told_with_their_place() {
        let refusal = |text: &str| comma_fields(text).unwrap_err();
        assert_eq!(refusal(""), "EOF");
        assert_eq!(refusal("\"a"), "parse error on line 1, column 3: extraneous or missing \" in quoted-field");
        assert_eq!(refusal("\"a\"b"), "parse error on line 1, column 3: extraneous or missing \" in quoted-field");
        assert_eq!(refusal("x,a\"b"), "parse error on line 1, column 4: bare \" in non-quoted field");
    }
}
