//! The environment of a container's process.

/// PATH of a container whose image names none.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Docker's own variables first, those of linked containers, then the image's and the user's; a later `KEY=` takes the place
/// of an earlier one. A word without `=` removes that variable.
pub fn environment(hostname: &str, tty: bool, linked: &[String], asked: &[String]) -> Vec<String> {
    let mut all = vec![format!("PATH={DEFAULT_PATH}"), format!("HOSTNAME={hostname}")];
    if tty {
        all.push("TERM=xterm".to_owned());
    }
    all.extend(linked.iter().cloned());
    replace_or_append(all, asked)
}

/// `base` with `changes` laid over it, the order of first appearance kept.
pub fn replace_or_append(mut base: Vec<String>, changes: &[String]) -> Vec<String> {
    for change in changes {
        let (key, keep) = change.split_once('=').map_or((change.as_str(), false), |(key, _)| (key, true));
        let position = base.iter().position(|known| known.split_once('=').is_some_and(|(k, _)| k == key));
        match (position, keep) {
            (Some(at), true) => base[at].clone_from(change),
            (Some(at), false) => drop(base.remove(at)),
            (None, true) => base.push(change.clone()),
            (None, false) => {}
        }
    }
    base
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|w| (*w).to_owned()).collect()
    }

    #[test]
    fn dockers_variables_come_first_and_can_be_overridden_or_removed() {
        let env = environment("abc", true, &[], &words(&["A=1", "PATH=/bin", "TERM", "A=2", "B="]));
        assert_eq!(env, words(&["PATH=/bin", "HOSTNAME=abc", "A=2", "B="]));
    }

    #[test]
    fn term_is_set_for_terminals_only() {
        assert!(environment("h", true, &[], &[]).contains(&"TERM=xterm".to_owned()));
        assert_eq!(environment("h", false, &[], &[]).len(), 2);
    }
}
