//! Signal names and numbers as Docker takes them (signal(7), Linux numbering common to x86-64 and aarch64).

use kernel_names::{REAL_TIME_SIGNALS, signal_number};

use crate::ConfigError;

/// A signal number from 1 to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal(u32);

impl Signal {
    pub const KILL: Self = Self(9);
    pub const TERM: Self = Self(15);

    pub fn number(self) -> u32 {
        self.0
    }
}

const RTMIN: u32 = *REAL_TIME_SIGNALS.start();
const RTMAX: u32 = *REAL_TIME_SIGNALS.end();

/// `SIGTERM`, `term`, `15`, `RTMIN+3`, `SIGRTMAX-1`.
pub fn parse_signal(text: &str) -> Result<Signal, ConfigError> {
    let invalid = || ConfigError::Signal(text.to_owned());
    if let Ok(number) = text.parse::<u32>() {
        return if (1..=RTMAX).contains(&number) { Ok(Signal(number)) } else { Err(invalid()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(number) = number_of(name) {
        return Ok(Signal(number));
    }
    let offset = |rest: &str| rest.parse::<u32>().ok().filter(|n| *n <= RTMAX - RTMIN);
    let number = match (name.strip_prefix("RTMIN+"), name.strip_prefix("RTMAX-")) {
        (Some(rest), _) => offset(rest).map(|n| RTMIN + n),
        (_, Some(rest)) => offset(rest).map(|n| RTMAX - n),
        _ => None,
    };
    number.map(Signal).ok_or_else(invalid)
}

/// Docker has two names more, of other kernels.
fn number_of(name: &str) -> Option<u32> {
    match name {
        "RTMIN" => Some(RTMIN),
        "RTMAX" => Some(RTMAX),
        "UNUSED" => signal_number("SYS"),
        "EMT" => signal_number("BUS"),
        name => signal_number(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_and_without_sig_in_any_case_and_numbers_are_read() {
        for (text, number) in [
            ("SIGTERM", 15),
            ("kill", 9),
            ("sigusr1", 10),
            ("9", 9),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("rtmax-1", 63),
        ] {
            assert_eq!(parse_signal(text).unwrap().number(), number, "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused_in_dockers_words() {
        for text in ["", "SIG", "0", "65", "-1", "NOPE", "RTMIN+31", "RTMIN+x"] {
            assert_eq!(parse_signal(text).unwrap_err().to_string(), format!("invalid signal: {text}"));
        }
    }
}
