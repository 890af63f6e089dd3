//! `-e`, `--env-file`, `-l`, `--label-file`: names with values, and files of them.

use std::collections::BTreeMap;
use std::io::Read;

use engine_api::StringMap;

use super::options::{os_words, owned, pairs};

/// Largest file of environment variables or labels.
const MAX_FILE: u64 = 16 << 20;

/// Variables of files, then those of the line, of which the last one of a name counts. A name alone takes the value it has
/// here: in a file it is left out when it has none, on the line it stays and takes the variable away.
pub fn environment(files: &[String], variables: &[String]) -> Result<Vec<String>, String> {
    let mut environment = Vec::new();
    for file in files {
        for line in lines_of(file)? {
            match line.split_once('=') {
                Some(_) => environment.push(line),
                None => environment.extend(std::env::var(&line).ok().map(|value| format!("{line}={value}"))),
            }
        }
    }
    environment.extend(typed(variables));
    Ok(environment)
}

/// The line's own, each name once.
fn typed(variables: &[String]) -> Vec<String> {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut out: Vec<String> = Vec::new();
    for variable in variables {
        let (name, text) = match variable.split_once('=') {
            Some((name, _)) => (name, variable.clone()),
            None => {
                let here = std::env::var(variable).map(|value| format!("{variable}={value}"));
                (variable.as_str(), here.unwrap_or_else(|_| variable.clone()))
            }
        };
        match places.get(name) {
            Some(place) => out[*place] = text,
            None => {
                places.insert(name.to_owned(), out.len());
                out.push(text);
            }
        }
    }
    out
}

/// `--env`, checked while the line is read.
pub fn check_variable(variable: &str) -> Result<(), String> {
    if variable.is_empty() || variable.starts_with('=') {
        return Err(format!("invalid environment variable: {variable}"));
    }
    Ok(())
}

/// Labels of files, then those of the line.
pub fn labels(files: &[String], labels: &[String]) -> Result<StringMap, String> {
    let mut all = StringMap::new();
    for file in files {
        all.extend(lines_of(file)?.iter().filter_map(|line| line.split_once('=')).map(owned));
    }
    all.extend(pairs(labels));
    Ok(all)
}

/// `--label`, checked while the line is read.
pub fn check_label(label: &str) -> Result<(), String> {
    let name = label.split('=').next().unwrap_or_default().trim_start_matches([' ', '\t']);
    if name.is_empty() {
        return Err(format!("invalid label '{label}': empty name"));
    }
    if name.contains([' ', '\t']) {
        return Err(format!("label '{name}' contains whitespaces"));
    }
    Ok(())
}

/// Lines that say something, without leading blanks; `#` starts a comment.
fn lines_of(file: &str) -> Result<Vec<String>, String> {
    let open = std::fs::File::open(file).map_err(|error| format!("open {file}: {}", os_words(&error)))?;
    let mut bytes = Vec::new();
    open.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("invalid env file ({file}): {}", os_words(&error)))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("invalid env file ({file}): larger than {MAX_FILE} bytes"));
    }
    read_lines(&bytes).map_err(|reason| format!("invalid env file ({file}): {reason}"))
}

fn read_lines(bytes: &[u8]) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Ok(line) = std::str::from_utf8(line) else {
            let shown: Vec<String> = line.iter().map(u8::to_string).collect();
            return Err(format!("invalid utf8 bytes at line {}: [{}]", at + 1, shown.join(" ")));
        };
        let line = if at == 0 { line.strip_prefix('\u{feff}').unwrap_or(line) } else { line };
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split('=').next().unwrap_or_default();
        if name.is_empty() {
            return Err(format!("no variable name on line '{line}'"));
        }
        if name.contains([' ', '\t']) {
            return Err(format!("variable '{name}' contains whitespaces"));
        }
        lines.push(line.to_owned());
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_variables_skip_comments_and_take_what_is_set_here() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "A=1\n# no\n\n  B= x \nDOCKER_CLI_NOT_SET\n").unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        assert_eq!(environment(&[path], &["C=2".into()]).unwrap(), ["A=1", "B= x ", "C=2"]);
        assert_eq!(read_lines(b"a b=1\n").unwrap_err(), "variable 'a b' contains whitespaces");
        assert_eq!(read_lines(b"A=1\n\xff=2\n").unwrap_err(), "invalid utf8 bytes at line 2: [255 61 50]");
    }

    #[test]
    fn the_last_value_of_a_name_counts() {
        let list = ["A=1", "NOT_SET_EITHER", "A=2", "B="].map(str::to_owned);
        assert_eq!(environment(&[], &list).unwrap(), ["A=2", "NOT_SET_EITHER", "B="]);
    }

    #[test]
    fn labels_and_variables_need_a_name() {
        assert!(check_label("a").is_ok() && check_label("a=b c").is_ok());
        assert_eq!(check_label("=x").unwrap_err(), "invalid label '=x': empty name");
        assert_eq!(check_label("a b=1").unwrap_err(), "label 'a b' contains whitespaces");
        assert_eq!(check_variable("=x").unwrap_err(), "invalid environment variable: =x");
    }
}
