//! Which names of a folder are wanted: those that the builder follows or includes, without those that it excludes.

use dockerfile::{Glob, IgnoreRules};

/// Patterns of one transfer.
const MAX_PATTERNS: usize = 10_000;

/// Cheap to ask; made once for a transfer.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// Empty: everything.
    include: Vec<Included>,
    exclude: IgnoreRules,
}

#[derive(Debug)]
struct Included {
    text: String,
    glob: Glob,
}

/// What becomes of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    Wanted,
    /// Not itself, but a folder's contents may be.
    Look,
    Skip,
}

impl Selection {
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, String> {
        if include.len() > MAX_PATTERNS {
            return Err(format!("more than {MAX_PATTERNS} patterns"));
        }
        let mut rules = IgnoreRules::default();
        for pattern in exclude {
            match pattern.strip_prefix('!') {
                Some(exception) => rules.add(exception, true)?,
                None => rules.add(pattern, false)?,
            }
        }
        let included = |pattern: &String| {
            let text = pattern.trim_matches('/').to_owned();
            let glob = Glob::deep(&text).ok_or_else(|| format!("syntax error in pattern {pattern:?}"))?;
            Ok(Included { text, glob })
        };
        // The folder itself: everything.
        let everything = include.iter().any(|pattern| matches!(pattern.trim_matches('/'), "" | "."));
        let include = if everything { &[] } else { include };
        Ok(Self { include: include.iter().map(included).collect::<Result<_, String>>()?, exclude: rules })
    }

    pub fn choose(&self, path: &str, is_folder: bool) -> Choice {
        let is_included = self.include.is_empty() || self.include.iter().any(|included| included.takes(path));
        let is_excluded = self.exclude.ignores(path);
        if is_included && !is_excluded {
            return Choice::Wanted;
        }
        let may_hold = is_folder
            && (is_included || self.include.iter().any(|included| included.may_be_below(path)))
            && (!is_excluded || self.exclude.has_exception_below(path));
        if may_hold { Choice::Look } else { Choice::Skip }
    }
}

impl Included {
    /// Itself, or something that it is in.
    fn takes(&self, path: &str) -> bool {
        let folders = path.match_indices('/').map(|(at, _)| &path[..at]);
        std::iter::once(path).chain(folders).any(|path| self.glob.matches(path))
    }

    fn may_be_below(&self, folder: &str) -> bool {
        let mut wanted = self.text.split('/');
        for part in folder.split('/') {
            match wanted.next() {
                Some("**") => return true,
                Some(pattern) if Glob::path(pattern).is_some_and(|glob| glob.matches(part)) => {}
                _ => return false,
            }
        }
        wanted.next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(include: &[&str], exclude: &[&str]) -> Selection {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Selection::new(&owned(include), &owned(exclude)).unwrap()
    }

    #[test]
    fn what_is_excluded_stays_unless_something_below_is_an_exception() {
        let selection = of(&[], &["*.log", "sub", "!sub/keep"]);
        assert_eq!(selection.choose("a", false), Choice::Wanted);
        assert_eq!(selection.choose("x.log", false), Choice::Skip);
        assert_eq!(selection.choose("sub", true), Choice::Look);
        assert_eq!(selection.choose("sub/keep", false), Choice::Wanted);
        assert_eq!(selection.choose("sub/other", false), Choice::Skip);
    }

    #[test]
    fn only_what_is_followed_is_wanted() {
        let selection = of(&["docker/Dockerfile", "src/*.rs"], &[]);
        assert_eq!(selection.choose("docker", true), Choice::Look);
        assert_eq!(selection.choose("docker/Dockerfile", false), Choice::Wanted);
        assert_eq!(selection.choose("docker/other", false), Choice::Skip);
        assert_eq!(selection.choose("other", true), Choice::Skip);
        assert_eq!(selection.choose("src/a.rs", false), Choice::Wanted);
        assert_eq!(selection.choose("src/a.c", false), Choice::Skip);
        assert_eq!(of(&["sub"], &[]).choose("sub/a/b", false), Choice::Wanted);
        assert_eq!(of(&["/"], &["b"]).choose("a", false), Choice::Wanted);
        assert_eq!(of(&["**/x"], &[]).choose("a/b", true), Choice::Look);
    }

    #[test]
    fn broken_patterns_are_told() {
        assert!(Selection::new(&[], &["[".to_owned()]).is_err());
        assert!(Selection::new(&["[".to_owned()], &[]).is_err());
    }
}
