//! tini's command line, as far as Docker and its users know it.

use std::ffi::OsString;

pub const HELP: &str = "Usage: docker-init [OPTIONS] COMMAND -- [ARGS...] | --version

Execute a command under the supervision of a valid init process.

Options:
  --version         Show the version and exit
  -h                Show this help and exit
  -s                Register as a process subreaper (as TINI_SUBREAPER does)
  -g                Send signals to the command's process group (as TINI_KILL_PROCESS_GROUP does)
  -e EXIT_CODE      Remap this exit code to 0, may be given again and again
  -E FILE           Become the command, with the variables of FILE (NAME=VALUE, each ended by a zero byte)
";

/// What the words ask for.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    Run(Options),
    Version,
    Help,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub subreaper: bool,
    /// Signals go to the command's whole process group.
    pub whole_group: bool,
    /// Exit codes that count as 0.
    pub forgiven: Vec<u8>,
    /// Variables that no record of the container may have: then there is no init, only the command.
    pub environment: Option<OsString>,
    pub command: OsString,
    pub arguments: Vec<OsString>,
}

/// Options end at `--`, or at the first word that is none. `is_set` looks into the environment.
pub fn parse(words: Vec<OsString>, is_set: impl Fn(&str) -> bool) -> Result<Asked, String> {
    let mut options = Options {
        subreaper: is_set("TINI_SUBREAPER"),
        whole_group: is_set("TINI_KILL_PROCESS_GROUP"),
        ..Options::default()
    };
    let mut words = words.into_iter();
    let command = loop {
        let word = words.next().ok_or("no command given")?;
        match word.to_str() {
            Some("--") => break words.next().ok_or("no command given")?,
            Some("--version") => return Ok(Asked::Version),
            Some("-h" | "--help") => return Ok(Asked::Help),
            Some("-s") => options.subreaper = true,
            Some("-g") => options.whole_group = true,
            Some("-E") => {
                options.environment = Some(words.next().ok_or("option requires an argument -- 'E'")?);
            }
            Some("-e") => {
                let code = words.next().ok_or("option requires an argument -- 'e'")?;
                let code = code.to_str().and_then(|text| text.parse().ok());
                options.forgiven.push(code.ok_or("the argument of -e must be an exit code from 0 to 255")?);
            }
            Some(other) if other.len() > 1 && other.starts_with('-') => {
                return Err(format!("invalid option -- '{}'", other.trim_start_matches('-')));
            }
            _ => break word,
        }
    };
    options.command = command;
    options.arguments = words.collect();
    Ok(Asked::Run(options))
}

/// In tini's form, which dockerd of Docker reads; the number is that of the tini whose behaviour this is.
pub fn version() -> String {
    let commit = option_env!("LONGSHORE_COMMIT").unwrap_or(concat!("longshore-", env!("CARGO_PKG_VERSION")));
    format!("tini version 0.19.0 - git.{commit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(words: &[&str]) -> Result<Asked, String> {
        parse(words.iter().map(OsString::from).collect(), |_| false)
    }

    #[test]
    fn docker_s_line_is_a_command_behind_two_dashes() {
        let options = Options {
            command: "sh".into(),
            arguments: vec!["-c".into(), "--".into(), "x".into()],
            ..Options::default()
        };
        assert_eq!(asked(&["--", "sh", "-c", "--", "x"]), Ok(Asked::Run(options)));
    }

    #[test]
    fn options_stand_before_the_command() {
        let Ok(Asked::Run(options)) = asked(&["-s", "-g", "-e", "143", "true", "-s"]) else { panic!("no command") };
        assert!(options.subreaper && options.whole_group);
        assert_eq!((options.forgiven, options.arguments), (vec![143], vec![OsString::from("-s")]));
        assert_eq!(asked(&["--version"]), Ok(Asked::Version));
        let Ok(Asked::Run(options)) = asked(&["-E", "/env", "--", "true"]) else { panic!("no command") };
        assert_eq!((options.environment, options.command), (Some("/env".into()), "true".into()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(asked(&[]), Err("no command given".to_owned()));
        assert_eq!(asked(&["-x", "true"]), Err("invalid option -- 'x'".to_owned()));
        assert!(asked(&["-e", "256", "true"]).is_err());
    }

    #[test]
    fn the_environment_says_it_too() {
        let words = vec!["--".into(), "true".into()];
        let Ok(Asked::Run(options)) = parse(words, |name| name == "TINI_KILL_PROCESS_GROUP") else {
            panic!("no command")
        };
        assert!(options.whole_group && !options.subreaper);
    }
}
