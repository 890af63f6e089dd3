//! The configuration of an image that is committed: what was asked for, over what its container had.

use crate::changes::apply_change;
use crate::config::ContainerConfig;
use crate::error::ImageError;

/// The lines of a Dockerfile applied to a configuration, as Docker's builder would: an entrypoint drops the command that
/// was meant for another, unless one of the lines has set it.
pub fn apply_changes(config: &mut ContainerConfig, lines: &[String]) -> Result<(), ImageError> {
    let mut has_command = false;
    for line in lines {
        let name = line.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        has_command |= name == "CMD";
        apply_change(config, line)?;
        if name == "ENTRYPOINT" && !has_command {
            config.cmd = None;
        }
    }
    Ok(())
}

/// Fills what a wanted configuration does not say with what the container has.
pub fn merge_container(wanted: &mut ContainerConfig, container: &ContainerConfig) {
    take_if_empty(&mut wanted.user, &container.user);
    take_if_empty(&mut wanted.working_dir, &container.working_dir);
    take_if_empty(&mut wanted.stop_signal, &container.stop_signal);
    add_missing(&mut wanted.exposed_ports, &container.exposed_ports);
    add_missing(&mut wanted.volumes, &container.volumes);
    let name = |variable: &str| variable.split_once('=').map_or(variable.to_owned(), |(name, _)| name.to_owned());
    let missing = container.env.iter().filter(|theirs| !wanted.env.iter().any(|ours| name(ours) == name(theirs)));
    let missing: Vec<String> = missing.cloned().collect();
    wanted.env.extend(missing);
    for (key, value) in &container.labels {
        wanted.labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    if wanted.entrypoint.as_ref().is_none_or(Vec::is_empty) {
        if wanted.cmd.as_ref().is_none_or(Vec::is_empty) {
            wanted.cmd.clone_from(&container.cmd);
        }
        if wanted.entrypoint.is_none() {
            wanted.entrypoint.clone_from(&container.entrypoint);
        }
    }
    match (&mut wanted.healthcheck, &container.healthcheck) {
        (Some(wanted), Some(container)) => {
            if wanted.test.is_empty() {
                wanted.test.clone_from(&container.test);
            }
            for (ours, theirs) in [
                (&mut wanted.interval, container.interval),
                (&mut wanted.timeout, container.timeout),
                (&mut wanted.start_period, container.start_period),
                (&mut wanted.start_interval, container.start_interval),
                (&mut wanted.retries, container.retries),
            ] {
                if *ours == 0 {
                    *ours = theirs;
                }
            }
        }
        (wanted @ None, Some(container)) => *wanted = Some(container.clone()),
        _ => {}
    }
}

fn take_if_empty(field: &mut String, value: &str) {
    if field.is_empty() {
        value.clone_into(field);
    }
}

/// Both lists are sorted sets.
fn add_missing(set: &mut Vec<String>, more: &[String]) {
    for entry in more {
        if let Err(at) = set.binary_search(entry) {
            set.insert(at, entry.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Option<Vec<String>> {
        Some(words.iter().map(|word| (*word).to_owned()).collect())
    }

    fn container() -> ContainerConfig {
        ContainerConfig {
            cmd: words(&["sh"]),
            env: vec!["A=1".to_owned(), "B=2".to_owned()],
            exposed_ports: vec!["80/tcp".to_owned()],
            labels: [("k".to_owned(), "container".to_owned())].into(),
            user: "app".to_owned(),
            ..ContainerConfig::default()
        }
    }

    #[test]
    fn what_is_asked_for_wins_and_the_rest_is_the_container_s() {
        let mut wanted = ContainerConfig {
            cmd: words(&["top"]),
            env: vec!["B=3".to_owned()],
            exposed_ports: vec!["53/udp".to_owned()],
            labels: [("k".to_owned(), "asked".to_owned())].into(),
            ..ContainerConfig::default()
        };
        merge_container(&mut wanted, &container());
        assert_eq!(wanted.cmd, words(&["top"]));
        assert_eq!(wanted.env, ["B=3", "A=1"]);
        assert_eq!(wanted.exposed_ports, ["53/udp", "80/tcp"]);
        assert_eq!(wanted.labels["k"], "asked");
        assert_eq!(wanted.user, "app");
    }

    #[test]
    fn an_entrypoint_drops_the_command_unless_one_is_given() {
        let changed = |lines: &[&str]| {
            let mut config = container();
            let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            apply_changes(&mut config, &lines).unwrap();
            merge_container(&mut config, &container());
            config
        };
        assert_eq!(changed(&["ENTRYPOINT [\"e\"]"]).cmd, None);
        assert_eq!(changed(&["CMD [\"c\"]", "ENTRYPOINT [\"e\"]"]).cmd, words(&["c"]));
        assert_eq!(changed(&["LABEL k=v"]).cmd, words(&["sh"]));
    }
}
