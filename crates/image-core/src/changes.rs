//! `--change` of import and commit: single instructions of a Dockerfile that change a configuration only.

use crate::config::{ContainerConfig, Healthcheck};
use crate::{ImageError, words};

const DEFAULT_SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Applies one line, such as `CMD ["/bin/sh"]` or `ENV A=b`.
pub fn apply_change(config: &mut ContainerConfig, line: &str) -> Result<(), ImageError> {
    let line = line.trim();
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let name = name.to_ascii_uppercase();
    if rest.is_empty() && name != "CMD" && name != "ENTRYPOINT" {
        return match is_change(&name) {
            true => Err(ImageError::Change(format!("{name} requires at least one argument"))),
            false => Err(ImageError::ChangeCommand(name.to_ascii_lowercase())),
        };
    }
    match name.as_str() {
        "CMD" => config.cmd = Some(command(config, rest)),
        "ENTRYPOINT" => config.entrypoint = Some(command(config, rest)),
        "ENV" => set_env(config, rest)?,
        "LABEL" => {
            let pairs = pairs(rest, &config.env)?;
            config.labels.extend(pairs);
        }
        "EXPOSE" => expose(config, rest)?,
        "VOLUME" => add_volumes(config, rest)?,
        "USER" => config.user = words::expand(rest, &config.env)?,
        "WORKDIR" => {
            let directory = words::expand(rest, &config.env)?;
            config.working_dir = join(&config.working_dir, &directory);
        }
        "STOPSIGNAL" => config.stop_signal = words::expand(rest, &config.env)?,
        "ONBUILD" => on_build(config, rest)?,
        "HEALTHCHECK" => config.healthcheck = Some(healthcheck(config, rest)?),
        _ => return Err(ImageError::ChangeCommand(name.to_ascii_lowercase())),
    }
    Ok(())
}

fn is_change(name: &str) -> bool {
    let known = [
        "CMD",
        "ENTRYPOINT",
        "ENV",
        "LABEL",
        "EXPOSE",
        "VOLUME",
        "USER",
        "WORKDIR",
        "STOPSIGNAL",
        "ONBUILD",
        "HEALTHCHECK",
    ];
    known.contains(&name)
}

/// A JSON array is the program itself, all else a line for the shell.
fn command(config: &ContainerConfig, text: &str) -> Vec<String> {
    if let Ok(words) = serde_json::from_str::<Vec<String>>(text) {
        return words;
    }
    let shell = config.shell.clone().unwrap_or_else(|| DEFAULT_SHELL.map(str::to_owned).to_vec());
    shell.into_iter().chain(std::iter::once(text.to_owned())).filter(|word| !word.is_empty()).collect()
}

/// `A=b C="d e"`, or the old `A b c` for one pair.
fn pairs(text: &str, env: &[String]) -> Result<Vec<(String, String)>, ImageError> {
    let words = words::split(text);
    if words.first().is_some_and(|word| !word.contains('=')) {
        let (name, value) = text.split_once(char::is_whitespace).ok_or_else(|| {
            ImageError::Change(format!("Syntax error - can't find = in \"{text}\". Must be of the form: name=value"))
        })?;
        return Ok(vec![(words::expand(name, env)?, words::expand(value.trim(), env)?)]);
    }
    words
        .iter()
        .map(|word| {
            let (name, value) = word.split_once('=').ok_or_else(|| {
                ImageError::Change(format!(
                    "Syntax error - can't find = in \"{word}\". Must be of the form: name=value"
                ))
            })?;
            let name = words::expand(name, env)?;
            match name.is_empty() {
                true => Err(ImageError::Change("names can not be blank".to_owned())),
                false => Ok((name, words::expand(value, env)?)),
            }
        })
        .collect()
}

fn set_env(config: &mut ContainerConfig, text: &str) -> Result<(), ImageError> {
    for (name, value) in pairs(text, &config.env)? {
        let entry = format!("{name}={value}");
        let same = |old: &&mut String| old.split_once('=').map_or(old.as_str(), |(n, _)| n) == name;
        match config.env.iter_mut().find(same) {
            Some(old) => *old = entry,
            None => config.env.push(entry),
        }
    }
    Ok(())
}

fn expose(config: &mut ContainerConfig, text: &str) -> Result<(), ImageError> {
    for word in words::split(text) {
        let word = words::expand(&word, &config.env)?;
        let bad = || ImageError::Change(format!("invalid containerPort: {word}"));
        let (range, protocol) = word.split_once('/').unwrap_or((&word, "tcp"));
        let protocol = protocol.to_ascii_lowercase();
        if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
            return Err(ImageError::Change(format!("invalid proto: {protocol}")));
        }
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let first: u16 = first.parse().map_err(|_| bad())?;
        let last: u16 = last.parse().map_err(|_| bad())?;
        if first > last {
            return Err(bad());
        }
        for port in first..=last {
            add(&mut config.exposed_ports, format!("{port}/{protocol}"));
        }
    }
    Ok(())
}

fn add_volumes(config: &mut ContainerConfig, text: &str) -> Result<(), ImageError> {
    let paths = match serde_json::from_str::<Vec<String>>(text) {
        Ok(paths) => paths,
        Err(_) => words::split(text),
    };
    for path in paths {
        let path = words::expand(&path, &config.env)?;
        match path.trim() {
            "" => return Err(ImageError::Change("VOLUME specified can not be an empty string".to_owned())),
            path => add(&mut config.volumes, path.to_owned()),
        }
    }
    Ok(())
}

fn add(set: &mut Vec<String>, entry: String) {
    if let Err(at) = set.binary_search(&entry) {
        set.insert(at, entry);
    }
}

fn on_build(config: &mut ContainerConfig, trigger: &str) -> Result<(), ImageError> {
    let name = trigger.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    match name.as_str() {
        "ONBUILD" => Err(ImageError::Change("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed".to_owned())),
        "MAINTAINER" | "FROM" => Err(ImageError::Change(format!("{name} isn't allowed as an ONBUILD trigger"))),
        _ => {
            config.on_build.push(trigger.to_owned());
            Ok(())
        }
    }
}

fn healthcheck(config: &ContainerConfig, text: &str) -> Result<Healthcheck, ImageError> {
    let mut check = Healthcheck::default();
    let mut rest = text;
    while let Some(flag) = rest.strip_prefix("--") {
        let (option, behind) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        rest = behind.trim_start();
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let bad = || ImageError::Change(format!("invalid value \"{value}\" for --{name}"));
        match name {
            "interval" => check.interval = duration(value).ok_or_else(bad)?,
            "timeout" => check.timeout = duration(value).ok_or_else(bad)?,
            "start-period" => check.start_period = duration(value).ok_or_else(bad)?,
            "start-interval" => check.start_interval = duration(value).ok_or_else(bad)?,
            "retries" => check.retries = value.parse().ok().filter(|n: &i64| *n >= 1).ok_or_else(bad)?,
            _ => return Err(ImageError::Change(format!("unknown flag: --{name}"))),
        }
    }
    let (kind, command_text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    match kind.to_ascii_uppercase().as_str() {
        "NONE" if command_text.trim().is_empty() && check == Healthcheck::default() => {
            check.test = vec!["NONE".to_owned()]
        }
        "NONE" => return Err(ImageError::Change("HEALTHCHECK NONE takes no arguments".to_owned())),
        "CMD" if command_text.trim().is_empty() => {
            return Err(ImageError::Change("missing command after HEALTHCHECK CMD".to_owned()));
        }
        "CMD" => check.test = health_test(config, command_text.trim()),
        other => return Err(ImageError::Change(format!("unknown type \"{other}\" in HEALTHCHECK (try CMD)"))),
    }
    Ok(check)
}

fn health_test(config: &ContainerConfig, text: &str) -> Vec<String> {
    match serde_json::from_str::<Vec<String>>(text) {
        Ok(words) => std::iter::once("CMD".to_owned()).chain(words).collect(),
        // The shell itself is left to whoever runs the check.
        Err(_) => std::iter::once("CMD-SHELL".to_owned()).chain(command(config, text).pop()).collect(),
    }
}

/// At least a millisecond, as Docker wants of health checks; in nanoseconds.
fn duration(text: &str) -> Option<i64> {
    go_text::duration::parse_duration(text).filter(|nanoseconds| *nanoseconds >= 1_000_000)
}

/// A relative directory is below the one before; the result is clean.
fn join(base: &str, directory: &str) -> String {
    let whole = if directory.starts_with('/') { directory.to_owned() } else { format!("{base}/{directory}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(lines: &[&str]) -> ContainerConfig {
        let mut config = ContainerConfig::default();
        for line in lines {
            apply_change(&mut config, line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
        config
    }

    #[test]
    fn every_instruction_changes_its_field() {
        let config = changed(&[
            "ENV A=b C=\"d e\"",
            "env OLD some words",
            "ENV A=$C",
            "CMD [\"/bin/sh\", \"-l\"]",
            "ENTRYPOINT exec top",
            "EXPOSE 80 53/udp 8000-8001",
            "VOLUME /data /log",
            "VOLUME [\"/json\"]",
            "USER $A",
            "WORKDIR /srv",
            "WORKDIR app/../www",
            "LABEL a.b=c \"d\"=\"e f\"",
            "STOPSIGNAL SIGINT",
            "ONBUILD RUN make",
            "HEALTHCHECK --interval=1m30s --retries=3 CMD curl -f http://localhost",
        ]);
        assert_eq!(config.env, ["A=d e", "C=d e", "OLD=some words"]);
        assert_eq!(config.cmd.unwrap(), ["/bin/sh", "-l"]);
        assert_eq!(config.entrypoint.unwrap(), ["/bin/sh", "-c", "exec top"]);
        assert_eq!(config.exposed_ports, ["53/udp", "80/tcp", "8000/tcp", "8001/tcp"]);
        assert_eq!(config.volumes, ["/data", "/json", "/log"]);
        assert_eq!(config.user, "d e");
        assert_eq!(config.working_dir, "/srv/www");
        assert_eq!(
            config.labels.into_iter().collect::<Vec<_>>(),
            [("a.b".to_owned(), "c".to_owned()), ("d".to_owned(), "e f".to_owned())]
        );
        assert_eq!(config.stop_signal, "SIGINT");
        assert_eq!(config.on_build, ["RUN make"]);
        let check = config.healthcheck.unwrap();
        assert_eq!(check.test, ["CMD-SHELL", "curl -f http://localhost"]);
        assert_eq!((check.interval, check.retries), (90_000_000_000, 3));
    }

    #[test]
    fn what_makes_a_layer_is_no_change() {
        for line in ["RUN make", "COPY a b", "FROM x", "", "nonsense"] {
            let error = apply_change(&mut ContainerConfig::default(), line).unwrap_err().to_string();
            assert!(error.ends_with("is not a valid change command"), "{error}");
        }
    }

    #[test]
    fn malformed_lines_are_refused() {
        for line in
            ["ENV", "ENV A", "EXPOSE x", "EXPOSE 80/foo", "EXPOSE 9-8", "VOLUME \"\"", "HEALTHCHECK what", "ENV =x"]
        {
            assert!(apply_change(&mut ContainerConfig::default(), line).is_err(), "{line}");
        }
    }
}
