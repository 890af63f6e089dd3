//! Which options a driver takes: checked when a container is created, and for the daemon's own defaults.

use go_text::size::Base;

use crate::fluentd::Fluentd;
use crate::messages::{
    bad_buffer_size, bad_option, buffer_without_mode, unknown_driver, unknown_option, unsupported_mode,
};
use crate::values::{parse_bool, parse_size};
use crate::{Error, Options, gelf, syslog};

/// The drivers that there are, apart from `none`.
pub const DRIVERS: [&str; 6] = ["fluentd", "gelf", "journald", "json-file", "local", "syslog"];

/// Options of every driver that ships elsewhere, for the local log that it ships from.
pub(crate) const CACHE_OPTIONS: [&str; 4] = ["cache-compress", "cache-disabled", "cache-max-file", "cache-max-size"];
const BUILT_IN: [&str; 2] = ["mode", "max-buffer-size"];
const COMMON: [&str; 5] = ["env", "env-regex", "labels", "labels-regex", "tag"];
const FILE_OPTIONS: [&str; 3] = ["compress", "max-file", "max-size"];

/// Checks what Docker checks before a container exists; the rest is found when it starts.
pub fn validate(driver: &str, options: &Options) -> Result<(), Error> {
    if driver == "none" {
        return Ok(());
    }
    let mode = options.get("mode").map_or("", String::as_str);
    if !matches!(mode, "" | "blocking" | "non-blocking") {
        return Err(unsupported_mode(mode));
    }
    if let Some(size) = options.get("max-buffer-size") {
        if mode != "non-blocking" {
            return Err(buffer_without_mode());
        }
        parse_size(size, Base::Binary).map_err(|why| bad_buffer_size(&why))?;
    }
    if let Some(disabled) = options.get("cache-disabled").filter(|value| !value.is_empty()) {
        parse_bool(disabled).map_err(|_| bad_option("cache-disabled", disabled))?;
    }
    let own: &[&str] = match driver {
        "json-file" | "local" => &FILE_OPTIONS,
        "journald" => &[],
        "syslog" => &syslog::OPTIONS,
        "gelf" => &gelf::OPTIONS,
        "fluentd" => &crate::fluentd::OPTIONS,
        other => return Err(unknown_driver(other)),
    };
    if driver == "gelf" {
        // Its address is looked at before its options are.
        gelf::check_address(options)?;
    }
    // In Docker of these versions the driver local keeps no attributes.
    let common: &[&str] = if driver == "local" { &[] } else { &COMMON };
    let known = |name: &&str| [own, common, &BUILT_IN, &CACHE_OPTIONS].iter().any(|list| list.contains(name));
    if let Some(unknown) = options.keys().map(String::as_str).find(|name| !known(name)) {
        return Err(unknown_option(unknown, driver));
    }
    match driver {
        "syslog" => syslog::check(options),
        "gelf" => gelf::check(options),
        "fluentd" => Fluentd::check(options),
        _ => Ok(()),
    }
}

/// The options of a container once the daemon's defaults have been added: all of them for the same driver, and those of
/// the cache for any.
pub fn with_defaults(driver: &str, options: &mut Options, default_driver: &str, defaults: &Options) {
    for (name, value) in defaults {
        if driver == default_driver || CACHE_OPTIONS.contains(&name.as_str()) {
            options.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(driver: &str, options: &[(&str, &str)]) -> String {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        validate(driver, &options).map_or_else(|error| error.to_string(), |()| "ok".to_owned())
    }

    #[test]
    fn options_are_refused_in_dockers_words() {
        let cases: [(&str, &[(&str, &str)], &str); 23] = [
            ("json-file", &[("max-size", "10m"), ("max-file", "3"), ("compress", "true"), ("tag", "x")], "ok"),
            ("json-file", &[("max-age", "1")], "unknown log opt 'max-age' for json-file log driver"),
            ("json-file", &[("mode", "maybe")], "logger: logging mode not supported: maybe"),
            ("json-file", &[("mode", "non-blocking"), ("max-buffer-size", "4m")], "ok"),
            (
                "json-file",
                &[("max-buffer-size", "4m")],
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
            ),
            (
                "json-file",
                &[("mode", "non-blocking"), ("max-buffer-size", "x")],
                "error parsing option max-buffer-size: invalid size: 'x'",
            ),
            ("json-file", &[("cache-disabled", "x")], "invalid value for option cache-disabled: x"),
            ("local", &[("max-size", "1m"), ("cache-max-size", "1m")], "ok"),
            ("local", &[("tag", "x")], "unknown log opt 'tag' for log driver local"),
            ("none", &[("anything", "goes")], "ok"),
            ("splunk", &[], "logger: no log driver named 'splunk' is registered"),
            ("journald", &[("tag", "x")], "ok"),
            ("journald", &[("max-size", "1m")], "unknown log opt 'max-size' for journald log driver"),
            ("syslog", &[("syslog-address", "tcp://127.0.0.1"), ("syslog-facility", "local7")], "ok"),
            ("syslog", &[("syslog-address", "http://127.0.0.1")], "unsupported scheme: 'http'"),
            ("syslog", &[("syslog-address", "unix:///nowhere")], "stat /nowhere: no such file or directory"),
            ("syslog", &[("syslog-facility", "news1")], "invalid syslog facility"),
            ("syslog", &[("syslog-format", "x")], "Invalid syslog format"),
            ("gelf", &[], "gelf-address is a required parameter"),
            ("gelf", &[("gelf-address", "udp://h")], "gelf: please provide gelf-address as proto://host:port"),
            (
                "gelf",
                &[("gelf-address", "tcp://h:1"), ("gelf-compression-type", "gzip")],
                "compression is only supported on UDP",
            ),
            ("fluentd", &[("fluentd-address", "unix://")], "invalid fluentd-address (unix://): path is empty"),
            ("fluentd", &[("fluentd-async", "x")], "strconv.ParseBool: parsing \"x\": invalid syntax"),
        ];
        for (driver, options, wanted) in cases {
            assert_eq!(check(driver, options), wanted, "{driver} {options:?}");
        }
        let unknown = "unknown log opt \"x\" for gelf log driver";
        assert_eq!(check("gelf", &[("gelf-address", "udp://h:1"), ("x", "1")]), unknown);
    }

    #[test]
    fn defaults_fill_what_is_missing_for_the_same_driver() {
        let defaults = Options::from([("max-size".into(), "1m".into()), ("cache-disabled".into(), "true".into())]);
        let mut options = Options::from([("max-size".into(), "2m".into())]);
        with_defaults("json-file", &mut options, "json-file", &defaults);
        assert_eq!((options["max-size"].as_str(), options["cache-disabled"].as_str()), ("2m", "true"));
        let mut other = Options::new();
        with_defaults("syslog", &mut other, "json-file", &defaults);
        assert_eq!(other, Options::from([("cache-disabled".into(), "true".into())]));
    }
}
