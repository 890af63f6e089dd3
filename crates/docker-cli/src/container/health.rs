//! `--health-…`.

use engine_api::container::HealthConfig;

use crate::command::Matches;
use crate::text::duration::parse_duration;

/// The health check that the flags ask for; none when they say nothing.
pub fn parse(flags: &Matches) -> Result<Option<HealthConfig>, String> {
    const FLAGS: &[&str] = &[
        "health-cmd",
        "health-interval",
        "health-timeout",
        "health-start-period",
        "health-start-interval",
        "health-retries",
    ];
    let any = FLAGS.iter().any(|name| flags.given(name) && !matches!(flags.text(name), "" | "0" | "0s"));
    if flags.is_set("no-healthcheck") {
        if any {
            return Err("--no-healthcheck conflicts with --health-* options".to_owned());
        }
        return Ok(Some(HealthConfig { test: vec!["NONE".to_owned()], ..HealthConfig::default() }));
    }
    if !any {
        return Ok(None);
    }
    let span = |name: &str| {
        let value = parse_duration(flags.text(name)).unwrap_or(0);
        if value < 0 { Err(format!("--{name} cannot be negative")) } else { Ok(value) }
    };
    let retries = flags.int("health-retries");
    if retries < 0 {
        return Err("--health-retries cannot be negative".to_owned());
    }
    let command = flags.text("health-cmd");
    let test = if command.is_empty() { Vec::new() } else { vec!["CMD-SHELL".to_owned(), command.to_owned()] };
    Ok(Some(HealthConfig {
        test,
        interval: span("health-interval")?,
        timeout: span("health-timeout")?,
        start_period: span("health-start-period")?,
        start_interval: span("health-start-interval")?,
        retries,
    }))
}
