use proptest::prelude::*;

use super::*;

fn lookup(name: &str) -> Option<String> {
    Some(match name {
        "V" => "value",
        "EMPTY" => "",
        "PATH" => "/usr/local/bin:/usr/bin",
        "FILE" => "archive.tar.gz",
        "TWO" => "a  b",
        "NAME" => "V",
        _ => return None,
    })
    .map(str::to_owned)
}

fn word(text: &str) -> Result<String, String> {
    Expander::new(b'\\', &lookup).word(text).map_err(|error| error.to_string())
}

#[test]
fn every_form_of_a_variable_is_expanded() {
    for (text, expected) in [
        ("$V", "value"),
        ("${V}x", "valuex"),
        ("a$Vb", "a"),
        ("\\$V", "$V"),
        ("'$V'", "$V"),
        ("\"$V\"", "value"),
        ("\"a\\\"b\\c\"", "a\"b\\c"),
        ("a\\ b\\\\", "a b\\"),
        ("$", "$"),
        ("a$/b", "a$/b"),
        ("${NONE:-d}", "d"),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY-d}", ""),
        ("${NONE-d}", "d"),
        ("${V:+x}", "x"),
        ("${EMPTY:+x}", ""),
        ("${EMPTY+x}", "x"),
        ("${V:?no}", "value"),
        ("${NONE:-${V}-${NONE:-n}}", "value-n"),
        ("${FILE#*.}", "tar.gz"),
        ("${FILE##*.}", "gz"),
        ("${FILE%.*}", "archive.tar"),
        ("${FILE%%.*}", "archive"),
        ("${PATH/bin/sbin}", "/usr/local/sbin:/usr/bin"),
        ("${PATH//bin/sbin}", "/usr/local/sbin:/usr/sbin"),
        ("${PATH//\\//-}", "-usr-local-bin:-usr-bin"),
        ("${V#x}", "value"),
        ("${V/[a-l]*/}", "v"),
        ("$1x", "x"),
    ] {
        assert_eq!(word(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_cannot_be_expanded_says_why() {
    for (text, expected) in [
        ("${NONE:?}", "NONE: is not allowed to be empty"),
        ("${NONE?}", "NONE: is not allowed to be unset"),
        ("${NONE:?say why}", "NONE: say why"),
        ("${V", "syntax error: missing '}'"),
        ("${}", "syntax error: bad substitution"),
        ("${V:x}", "unsupported modifier (x) in substitution"),
        ("\"a", "unexpected end of statement while looking for matching double-quote"),
        ("'a", "unexpected end of statement while looking for matching single-quote"),
        ("${V/a}", "syntax error: missing '/' in ${}"),
    ] {
        let error = word(text).unwrap_err();
        assert_eq!(error, format!("failed to process {}: {expected}", serde_json::Value::from(text)));
    }
}

#[test]
fn values_with_blanks_are_several_words_outside_of_quotes() {
    let words = |text: &str| Expander::new(b'\\', &lookup).words(text).unwrap();
    assert_eq!(words("$TWO c"), ["a", "b", "c"]);
    assert_eq!(words("\"$TWO\" ''"), ["a  b", ""]);
    assert_eq!(word("$TWO").unwrap(), "a  b");
}

#[test]
fn quotes_stay_in_documents() {
    let text = Expander::new(b'\\', &lookup).keeping_quotes().word("it's \"$V\" \\$V\n").unwrap();
    assert_eq!(text, "it's \"$V\" \\$V\n");
    let text = Expander::new(b'\\', &lookup).keeping_quotes().word("say \"$V\" $V\n").unwrap();
    assert_eq!(text, "say \"value\" value\n");
}

#[test]
fn what_would_grow_without_end_is_refused() {
    let long = "x".repeat(MAX_EXPANDED_BYTES / 2);
    let lookup = |_: &str| Some(long.clone());
    assert!(Expander::new(b'\\', &lookup).word("$a$a$a$a").is_err());
    let deep = format!("{}x{}", "${a:-".repeat(500), "}".repeat(500));
    assert!(word(&deep).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[a-zV$\\{\\}:#%/?+*\\[\\]'\"\\\\ ä-]{0,60}") {
        let _ = word(&text);
        let _ = Expander::new(b'`', &lookup).words(&text);
    }
}
