//! Docker's words for options that are wrong.

use crate::Error;

pub fn unknown_driver(name: &str) -> Error {
    Error::Invalid(format!("logger: no log driver named '{name}' is registered"))
}

/// Two drivers word it each in a way of its own.
pub fn unknown_option(option: &str, driver: &str) -> Error {
    Error::Invalid(match driver {
        "local" => format!("unknown log opt '{option}' for log driver {driver}"),
        "gelf" => format!("unknown log opt {option:?} for gelf log driver"),
        _ => format!("unknown log opt '{option}' for {driver} log driver"),
    })
}

pub fn unsupported_mode(mode: &str) -> Error {
    Error::Invalid(format!("logger: logging mode not supported: {mode}"))
}

pub fn buffer_without_mode() -> Error {
    Error::Invalid("logger: max-buffer-size option is only supported with 'mode=non-blocking'".to_owned())
}

pub fn bad_buffer_size(why: &str) -> Error {
    Error::Invalid(format!("error parsing option max-buffer-size: {why}"))
}

pub fn bad_option(option: &str, value: &str) -> Error {
    Error::Invalid(format!("invalid value for option {option}: {value}"))
}

pub fn bad_value(option: &str, value: &str, why: &str) -> Error {
    Error::Invalid(format!("invalid value for {option}: {value}: {why}"))
}

pub fn wrapped(option: &str, why: &str) -> Error {
    Error::Invalid(format!("invalid value for {option}: {why}"))
}

pub fn wrong(what: impl Into<String>) -> Error {
    Error::Invalid(what.into())
}

pub fn unsupported_scheme(scheme: &str) -> Error {
    Error::Invalid(format!("unsupported scheme: '{scheme}'"))
}

pub fn gelf_value(option: &str, value: &str) -> Error {
    Error::Invalid(format!("unknown value {value:?} for log opt {option:?} for gelf log driver"))
}
