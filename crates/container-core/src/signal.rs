//! Signal names and numbers as Docker takes them (signal(7), Linux numbering common to x86-64 and aarch64).

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

#[rustfmt::skip]
const NAMES: [(&str, u32); 38] = [
    ("HUP", 1), ("INT", 2), ("QUIT", 3), ("ILL", 4), ("TRAP", 5), ("ABRT", 6), ("IOT", 6), ("BUS", 7), ("FPE", 8),
    ("KILL", 9), ("USR1", 10), ("SEGV", 11), ("USR2", 12), ("PIPE", 13), ("ALRM", 14), ("TERM", 15), ("STKFLT", 16),
    ("CHLD", 17), ("CLD", 17), ("CONT", 18), ("STOP", 19), ("TSTP", 20), ("TTIN", 21), ("TTOU", 22), ("URG", 23),
    ("XCPU", 24), ("XFSZ", 25), ("VTALRM", 26), ("PROF", 27), ("WINCH", 28), ("IO", 29), ("POLL", 29), ("PWR", 30),
    ("SYS", 31), ("UNUSED", 31), ("RTMIN", RTMIN), ("RTMAX", RTMAX), ("EMT", 7),
];

/// The first two real-time signals belong to the C library's threads.
const RTMIN: u32 = 34;
const RTMAX: u32 = 64;

/// `SIGTERM`, `term`, `15`, `RTMIN+3`, `SIGRTMAX-1`.
pub fn parse_signal(text: &str) -> Result<Signal, ConfigError> {
    let invalid = || ConfigError::Signal(text.to_owned());
    if let Ok(number) = text.parse::<u32>() {
        return if (1..=RTMAX).contains(&number) { Ok(Signal(number)) } else { Err(invalid()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(Signal(*number));
    }
    let offset = |rest: &str| rest.parse::<u32>().ok().filter(|n| *n <= RTMAX - RTMIN);
    let number = match (name.strip_prefix("RTMIN+"), name.strip_prefix("RTMAX-")) {
        (Some(rest), _) => offset(rest).map(|n| RTMIN + n),
        (_, Some(rest)) => offset(rest).map(|n| RTMAX - n),
        _ => None,
    };
    number.map(Signal).ok_or_else(invalid)
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
