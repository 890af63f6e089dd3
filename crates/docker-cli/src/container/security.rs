//! `--security-opt`, `--cap-add`, `--sysctl`.

use std::collections::BTreeSet;

use super::options::os_words;

/// What the options come to: some are the client's own to carry out.
#[derive(Debug, Default, PartialEq)]
pub struct SecurityOptions {
    /// For the daemon; `None` when nothing was asked for.
    pub options: Option<Vec<String>>,
    /// `systempaths=unconfined`: no path of /proc and /sys is hidden or read-only.
    pub bare_system_paths: bool,
}

/// Largest seccomp profile that is sent.
const MAX_PROFILE: u64 = 4 << 20;

/// A seccomp profile's path is replaced by its text: the daemon may be on another host.
pub fn security_options(list: &[String]) -> Result<SecurityOptions, String> {
    let mut out = SecurityOptions { options: (!list.is_empty()).then(Vec::new), bare_system_paths: false };
    for option in list {
        let read = read_option(option)?;
        if read == "systempaths=unconfined" {
            out.bare_system_paths = true;
        } else {
            out.options.get_or_insert_default().push(read);
        }
    }
    Ok(out)
}

fn read_option(option: &str) -> Result<String, String> {
    if option == "no-new-privileges" || option.starts_with("no-new-privileges=") {
        return Ok(option.to_owned());
    }
    let split = option.split_once('=').or_else(|| option.split_once(':'));
    let Some((key, value)) = split.filter(|(key, value)| !value.is_empty() || *key == "no-new-privileges") else {
        return Err(format!("Invalid --security-opt: {option:?}"));
    };
    if key != "seccomp" || matches!(value, "unconfined" | "builtin") {
        return Ok(option.to_owned());
    }
    let opening = |reason: String| format!("opening seccomp profile ({value}) failed: {reason}");
    let size = std::fs::metadata(value).map_or(0, |metadata| metadata.len());
    if size > MAX_PROFILE {
        return Err(opening(format!("larger than {MAX_PROFILE} bytes")));
    }
    let text = std::fs::read(value).map_err(|error| opening(format!("open {value}: {}", os_words(&error))))?;
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&text) {
        let reason = if error.is_eof() { "unexpected end of JSON input".to_owned() } else { error.to_string() };
        return Err(format!("compacting json for seccomp profile ({value}) failed: {reason}"));
    }
    Ok(format!("seccomp={}", compact(&String::from_utf8_lossy(&text))))
}

/// Valid JSON without the blanks between its tokens, the tokens as they are.
fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in json.chars() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if c.is_ascii_whitespace() {
            continue;
        } else {
            in_string = c == '"';
        }
        out.push(c);
    }
    out
}

/// In capitals, with their prefix, each once, sorted.
pub fn capabilities(list: &[String]) -> Vec<String> {
    let normal = |name: &String| {
        let name = name.trim().to_uppercase();
        if name == "ALL" || name.starts_with("CAP_") { name } else { format!("CAP_{name}") }
    };
    list.iter().map(normal).collect::<BTreeSet<String>>().into_iter().collect()
}

/// `--sysctl`: Docker lets the namespaced ones through.
pub fn check_sysctl(value: &str) -> Result<(), String> {
    const NAMED: &[&str] = &[
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    let allowed = value
        .split_once('=')
        .is_some_and(|(key, _)| NAMED.contains(&key) || key.starts_with("net.") || key.starts_with("fs.mqueue."));
    if allowed { Ok(()) } else { Err(format!("sysctl '{value}' is not allowed")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_paths_are_the_client_s_to_open() {
        let list = ["systempaths=unconfined".to_owned()];
        let expected = SecurityOptions { options: Some(vec![]), bare_system_paths: true };
        assert_eq!(security_options(&list).unwrap(), expected);
        assert_eq!(security_options(&[]).unwrap(), SecurityOptions::default());
        assert_eq!(security_options(&["what=".to_owned()]).unwrap_err(), "Invalid --security-opt: \"what=\"");
    }

    #[test]
    fn a_profile_loses_its_blanks_and_nothing_else() {
        assert_eq!(compact("{ \"a b\" : [1.50,\n\"x\\\" y\"] }"), "{\"a b\":[1.50,\"x\\\" y\"]}");
    }

    #[test]
    fn capabilities_have_one_spelling() {
        let list = ["net_raw", "CAP_NET_RAW", "all"].map(str::to_owned);
        assert_eq!(capabilities(&list), ["ALL", "CAP_NET_RAW"]);
    }
}
