//! Where things go: Docker's rules about slashes and dots at the end of paths.
//!
//! `dir` is the directory, `dir/.` what is in it; a slash at the end says that it is one. Into a directory that is there
//! the source goes by its own name, to a place that is not there by the place's name.

use crate::failure::Failure;

/// What is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    pub path: String,
    pub is_directory: bool,
    /// The name it goes by, where following a link has changed it.
    pub rebase: Option<String>,
}

/// Where it goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub path: String,
    pub is_there: bool,
    pub is_directory: bool,
}

/// `container:path`; a path that starts with `/` or `.` is one of this machine whatever follows.
pub fn split_argument(argument: &str) -> (Option<&str>, &str) {
    match argument.split_once(':') {
        Some((container, path)) if !argument.starts_with('/') && !container.starts_with('.') => {
            (Some(container).filter(|name| !name.is_empty()), path)
        }
        _ => (None, argument),
    }
}

/// From the root, cleaned, with the end that it had.
pub fn absolute(path: &str) -> Result<String, Failure> {
    let whole =
        if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", std::env::current_dir()?.display()) };
    Ok(keep_end(clean(&whole), path))
}

/// Go's `filepath.Clean`.
pub fn clean(path: &str) -> String {
    let is_rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if is_rooted => {}
            part => parts.push(part),
        }
    }
    match (is_rooted, parts.join("/")) {
        (true, rest) => format!("/{rest}"),
        (false, rest) if rest.is_empty() => ".".to_owned(),
        (false, rest) => rest,
    }
}

fn is_dot(path: &str) -> bool {
    path == "." || path.ends_with("/.")
}

fn keep_end(cleaned: String, original: &str) -> String {
    let mut out = cleaned;
    if is_dot(original) && !is_dot(&out) {
        if !out.ends_with('/') {
            out.push('/');
        }
        out.push('.');
    } else if original.ends_with('/') && !out.ends_with('/') {
        out.push('/');
    }
    out
}

/// Whether the path says itself that it is a directory.
pub fn asserts_directory(path: &str) -> bool {
    path.ends_with('/') || is_dot(path)
}

/// The directory and the name in it; the name of `dir/.` is the dot.
pub fn split(path: &str) -> (String, String) {
    let cleaned = clean(path);
    if is_dot(path) && cleaned != "." {
        return (cleaned, ".".to_owned());
    }
    match cleaned.rsplit_once('/') {
        Some(("", "")) => ("/".to_owned(), "/".to_owned()),
        Some(("", name)) => ("/".to_owned(), name.to_owned()),
        Some((directory, name)) => (directory.to_owned(), name.to_owned()),
        None => (".".to_owned(), cleaned),
    }
}

/// Go's `filepath.Base`.
pub fn base(path: &str) -> String {
    match path.trim_end_matches('/') {
        "" if path.is_empty() => ".".to_owned(),
        "" => "/".to_owned(),
        bare => bare.rsplit('/').next().unwrap_or(bare).to_owned(),
    }
}

/// What a link at `path` means, from the root of where the path is.
pub fn link_target(path: &str, target: &str) -> String {
    if target.starts_with('/') { target.to_owned() } else { clean(&format!("{}/{target}", split(path).0)) }
}

/// The resolved path with the end of the asked one, and the asked name where it is another.
pub fn rebased(path: &str, resolved: &str) -> (String, Option<String>) {
    let resolved = keep_end(resolved.to_owned(), path);
    let rebase = (base(path) != base(&resolved)).then(|| base(path));
    (resolved, rebase)
}

/// The directory that the archive is unpacked in, and the name that the source gets there, if not its own.
pub fn place(copied: &Copied, target: &Target) -> Result<(String, Option<String>), &'static str> {
    if target.is_there && target.is_directory {
        return Ok((target.path.clone(), copied.rebase.clone()));
    }
    if target.is_there && copied.is_directory {
        return Err("cannot copy directory");
    }
    if !target.is_there && !copied.is_directory && asserts_directory(&target.path) {
        return Err("no such directory");
    }
    let (directory, name) = split(&target.path);
    Ok((directory, Some(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_belongs_to_a_container_unless_the_path_is_plain() {
        assert_eq!(split_argument("c:/x"), (Some("c"), "/x"));
        assert_eq!(split_argument("./a:b"), (None, "./a:b"));
        assert_eq!(split_argument("/a:b"), (None, "/a:b"));
        assert_eq!(split_argument("a"), (None, "a"));
        assert_eq!(split_argument("host/c:x:y"), (Some("host/c"), "x:y"));
    }

    #[test]
    fn paths_are_cleaned_and_keep_their_end() {
        for (path, cleaned) in
            [("/a/../..", "/"), ("a/./b//c/", "a/b/c"), ("", "."), ("../../x", "../../x"), ("a/..", ".")]
        {
            assert_eq!(clean(path), cleaned, "{path}");
        }
        assert_eq!(absolute("/a/b/").unwrap(), "/a/b/");
        assert_eq!(absolute("/a/b/.").unwrap(), "/a/b/.");
        assert_eq!(absolute("/").unwrap(), "/");
        assert_eq!(split("/a/b/."), ("/a/b".into(), ".".into()));
        assert_eq!(split("/a/b/"), ("/a".into(), "b".into()));
        assert_eq!(split("/"), ("/".into(), "/".into()));
        assert_eq!(split("a"), (".".into(), "a".into()));
    }

    #[test]
    fn links_are_followed_and_remembered_by_name() {
        assert_eq!(link_target("/srv/link", "real"), "/srv/real");
        assert_eq!(link_target("/srv/link/", "/abs"), "/abs");
        assert_eq!(rebased("/srv/link/", "/srv/real"), ("/srv/real/".into(), Some("link".into())));
        assert_eq!(rebased("/srv/same", "/other/same"), ("/other/same".into(), None));
    }

    #[test]
    fn what_is_there_decides_where_things_go() {
        let file = Copied { path: "/x/f".into(), is_directory: false, rebase: None };
        let directory = Copied { is_directory: true, ..file.clone() };
        let target = |path: &str, is_there, is_directory| Target { path: path.into(), is_there, is_directory };
        assert_eq!(place(&file, &target("/d", true, true)), Ok(("/d".into(), None)));
        assert_eq!(place(&file, &target("/d/g", true, false)), Ok(("/d".into(), Some("g".into()))));
        assert_eq!(place(&directory, &target("/d/g", true, false)), Err("cannot copy directory"));
        assert_eq!(place(&directory, &target("/d/new", false, false)), Ok(("/d".into(), Some("new".into()))));
        assert_eq!(place(&file, &target("/d/new/", false, false)), Err("no such directory"));
        assert_eq!(place(&file, &target("/d/new", false, false)), Ok(("/d".into(), Some("new".into()))));
    }
}
