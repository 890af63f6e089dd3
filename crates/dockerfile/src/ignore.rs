//! `.dockerignore`: what of a context stays at home.

use crate::glob::Glob;

/// Lines that count.
const MAX_PATTERNS: usize = 10_000;

/// The rules of one file, in order: the last one that matches decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IgnoreRules {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    text: String,
    glob: Glob,
    /// `!pattern`.
    exception: bool,
    /// Where it stands in its file; `None` of a rule that was added.
    line: Option<u32>,
}

/// The rule that keeps a path at home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excluding<'a> {
    pub pattern: &'a str,
    /// Counted from 1; `None` of a rule that was added.
    pub line: Option<u32>,
}

impl IgnoreRules {
    /// Reads a file. An error names the pattern that is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut found = Self::default();
        for (number, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.starts_with('#')) {
            let text = text.trim();
            let (exception, pattern) = match text.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, text),
            };
            let pattern = clean(pattern);
            if pattern.is_empty() {
                match exception {
                    true => return Err("illegal exclusion pattern: \"!\"".to_owned()),
                    false => continue,
                }
            }
            found.push(&pattern, exception, Some(number))?;
        }
        Ok(found)
    }

    /// A further rule behind all others.
    pub fn add(&mut self, pattern: &str, exception: bool) -> Result<(), String> {
        self.push(pattern, exception, None)
    }

    fn push(&mut self, pattern: &str, exception: bool, line: Option<u32>) -> Result<(), String> {
        if self.rules.len() >= MAX_PATTERNS {
            return Err(format!("more than {MAX_PATTERNS} patterns"));
        }
        let glob = Glob::deep(pattern).ok_or_else(|| format!("syntax error in pattern {pattern:?}"))?;
        self.rules.push(Rule { text: pattern.to_owned(), glob, exception, line });
        Ok(())
    }

    /// Its rules as they are told to a client that applies them itself.
    pub fn patterns(&self) -> Vec<String> {
        let pattern = |rule: &Rule| format!("{}{}", if rule.exception { "!" } else { "" }, rule.text);
        self.rules.iter().map(pattern).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether a path (relative, with slashes) stays at home, because of itself or of a folder that it is in.
    pub fn ignores(&self, path: &str) -> bool {
        self.excluding(path).is_some()
    }

    /// The rule by which a path stays at home.
    pub fn excluding(&self, path: &str) -> Option<Excluding<'_>> {
        let mut excluding = None;
        for rule in &self.rules {
            if rule.exception != excluding.is_some() {
                continue;
            }
            let mut folders = path.match_indices('/').map(|(at, _)| &path[..at]);
            if rule.glob.matches(path) || folders.any(|folder| rule.glob.matches(folder)) {
                excluding = (!rule.exception).then_some(Excluding { pattern: &rule.text, line: rule.line });
            }
        }
        excluding
    }

    /// Whether something below an ignored folder may be wanted all the same.
    pub fn has_exception_below(&self, folder: &str) -> bool {
        let below = format!("{folder}/");
        let wild = |rule: &Rule| rule.text.starts_with("**") || rule.text.starts_with('*');
        let exceptions = || self.rules.iter().filter(|rule| rule.exception);
        exceptions().any(|rule| format!("{}/", rule.text).starts_with(&below) || wild(rule))
    }
}

/// Go's filepath.Clean, without the slash before it.
fn clean(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." if !parts.is_empty() && parts.last() != Some(&"..") => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ignored(rules: &str, path: &str) -> bool {
        IgnoreRules::parse(rules).unwrap().ignores(path)
    }

    #[test]
    fn the_last_rule_that_matches_decides() {
        let rules = "# comment\n*.md\n!README*.md\nREADME-secret.md\n\n/build/\nnode_modules\n**/*.o\n";
        for (path, expected) in [
            ("a.md", true),
            ("README.md", false),
            ("README-secret.md", true),
            ("build/x/y", true),
            ("node_modules", true),
            ("sub/node_modules", false),
            ("a/b/c.o", true),
            ("c.o", true),
            ("src/a.md", false),
        ] {
            assert_eq!(ignored(rules, path), expected, "{path}");
        }
    }

    #[test]
    fn the_rule_that_decides_is_told_with_its_line() {
        let rules = IgnoreRules::parse("# comment\n\n*.log\n!keep.log\n  ./build/  \n").unwrap();
        assert_eq!(rules.excluding("a.log"), Some(Excluding { pattern: "*.log", line: Some(3) }));
        assert_eq!(rules.excluding("build/a/b"), Some(Excluding { pattern: "build", line: Some(5) }));
        assert_eq!(rules.excluding("keep.log"), None);
        let mut added = IgnoreRules::default();
        added.add("x", false).unwrap();
        assert_eq!(added.excluding("x"), Some(Excluding { pattern: "x", line: None }));
    }

    #[test]
    fn an_exception_brings_back_what_a_folder_hides() {
        let rules = "*\n!src\n!docs/keep";
        assert!(!ignored(rules, "src/a/b"));
        assert!(!ignored(rules, "docs/keep"));
        assert!(ignored(rules, "docs/drop"));
        let rules = IgnoreRules::parse(rules).unwrap();
        assert!(rules.has_exception_below("docs"));
        assert!(!rules.has_exception_below("other"));
    }

    #[test]
    fn spaces_slashes_and_dots_are_cleaned_away() {
        assert!(ignored("  ./a/../b/  ", "b/c"));
        assert!(!ignored("#b", "b"));
        assert!(IgnoreRules::parse("!").is_err());
        assert!(IgnoreRules::parse("[").is_err());
    }

    proptest! {
        #[test]
        fn no_rules_make_it_panic(rules in "[a-z*!/\\[\\]\\\\.?# \n-]{0,80}", path in "[a-z/.]{0,30}") {
            if let Ok(rules) = IgnoreRules::parse(&rules) {
                let _ = rules.ignores(&path);
            }
        }
    }
}
