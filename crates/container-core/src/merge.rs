//! What a container takes over from its image at create.

use std::collections::BTreeSet;

use crate::config::{Config, Healthcheck, ImageDefaults};
use crate::error::ConfigError;

/// The wanted configuration with the image's defaults under it. An entrypoint of the user's own drops the image's command
/// (it was meant for the image's entrypoint); one of no words takes the command and drops the image's entrypoint.
pub fn merge_image(mut config: Config, image: &ImageDefaults) -> Result<Config, ConfigError> {
    config.env = merge_env(config.env, &image.env);
    if config.entrypoint.as_ref().is_none_or(Vec::is_empty) {
        if config.cmd.as_ref().is_none_or(Vec::is_empty) {
            config.cmd.clone_from(&image.cmd);
            config.args_escaped = image.args_escaped;
        }
        if config.entrypoint.is_none() {
            config.entrypoint.clone_from(&image.entrypoint);
        }
    } else if config.entrypoint.as_deref() == Some(&[String::new()]) {
        // `--entrypoint ""` resets the image's entrypoint and nothing comes in its place.
        config.entrypoint = None;
    }
    take_if_empty(&mut config.user, &image.user);
    take_if_empty(&mut config.working_dir, &image.working_dir);
    config.exposed_ports.extend(image.exposed_ports.iter().cloned());
    config.volumes.extend(image.volumes.iter().cloned());
    for (key, value) in &image.labels {
        config.labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    if config.stop_signal.as_deref().unwrap_or("").is_empty() {
        config.stop_signal.clone_from(&image.stop_signal);
    }
    config.healthcheck = merge_healthcheck(config.healthcheck.take(), image.healthcheck.as_ref());
    if arguments(&config).is_empty() {
        return Err(ConfigError::NoCommand);
    }
    Ok(config)
}

/// The user's as they are, then those of the image that the user did not name; a bare name of the user's removes the image's.
fn merge_env(asked: Vec<String>, image: &[String]) -> Vec<String> {
    let key = |variable: &str| variable.split_once('=').map_or(variable, |(key, _)| key).to_owned();
    let named: BTreeSet<String> = asked.iter().map(|variable| key(variable)).collect();
    let others = image.iter().filter(|variable| !named.contains(&key(variable))).cloned();
    asked.into_iter().chain(others).collect()
}

/// Member by member: what the user left out is the image's.
fn merge_healthcheck(asked: Option<Healthcheck>, image: Option<&Healthcheck>) -> Option<Healthcheck> {
    let (Some(mut asked), Some(image)) = (asked.clone(), image) else { return asked.or_else(|| image.cloned()) };
    if asked.test.is_empty() {
        asked.test.clone_from(&image.test);
    }
    let times = [
        (&mut asked.interval_ns, image.interval_ns),
        (&mut asked.timeout_ns, image.timeout_ns),
        (&mut asked.start_period_ns, image.start_period_ns),
        (&mut asked.start_interval_ns, image.start_interval_ns),
        (&mut asked.retries, image.retries),
    ];
    for (own, default) in times {
        if *own == 0 {
            *own = default;
        }
    }
    Some(asked)
}

/// Entrypoint and command in one line of words.
pub fn arguments(config: &Config) -> Vec<String> {
    config.entrypoint.iter().flatten().chain(config.cmd.iter().flatten()).cloned().collect()
}

fn take_if_empty(field: &mut String, default: &str) {
    if field.is_empty() {
        default.clone_into(field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Option<Vec<String>> {
        Some(words.iter().map(|w| (*w).to_owned()).collect())
    }

    fn image() -> ImageDefaults {
        ImageDefaults {
            entrypoint: words(&["/entry"]),
            cmd: words(&["serve"]),
            env: vec!["A=image".to_owned(), "B=image".to_owned()],
            user: "app".to_owned(),
            ..ImageDefaults::default()
        }
    }

    #[test]
    fn a_command_of_the_users_own_keeps_the_images_entrypoint() {
        let merged = merge_image(Config { cmd: words(&["x"]), ..Config::default() }, &image()).unwrap();
        assert_eq!(arguments(&merged), ["/entry", "x"]);
    }

    #[test]
    fn an_entrypoint_of_the_users_own_drops_the_images_command() {
        let merged = merge_image(Config { entrypoint: words(&["sh"]), ..Config::default() }, &image()).unwrap();
        assert_eq!(arguments(&merged), ["sh"]);
    }

    #[test]
    fn an_empty_entrypoint_resets_the_images() {
        let asked = Config { entrypoint: words(&[""]), cmd: words(&["ls"]), ..Config::default() };
        assert_eq!(arguments(&merge_image(asked, &image()).unwrap()), ["ls"]);
    }

    #[test]
    fn an_entrypoint_of_no_words_drops_the_images_and_takes_its_command() {
        let asked = Config { entrypoint: Some(Vec::new()), ..Config::default() };
        assert_eq!(arguments(&merge_image(asked, &image()).unwrap()), ["serve"]);
        let asked = Config { entrypoint: Some(Vec::new()), cmd: words(&["ls"]), ..Config::default() };
        assert_eq!(arguments(&merge_image(asked, &image()).unwrap()), ["ls"]);
    }

    #[test]
    fn variables_of_the_user_come_first_and_win() {
        let asked = Config { env: vec!["B=mine".to_owned(), "C".to_owned()], ..Config::default() };
        let merged = merge_image(asked, &image()).unwrap();
        assert_eq!(merged.env, ["B=mine", "C", "A=image"]);
        let bare = Config { env: vec!["A".to_owned(), String::new()], ..Config::default() };
        assert_eq!(merge_image(bare, &image()).unwrap().env, ["A", "", "B=image"]);
    }

    #[test]
    fn nothing_to_run_is_an_error() {
        let error = merge_image(Config::default(), &ImageDefaults::default()).unwrap_err();
        assert_eq!(error.to_string(), "no command specified");
    }
}
