//! `docker top`: the host's `ps`, cut down to a container's processes.

use std::process::Output;

use tokio::process::Command;

use crate::error::Error;
use crate::messages;
use crate::request::Processes;

/// Docker's arguments when none are given.
const DEFAULT_ARGUMENTS: &str = "-ef";
const LONGEST_ARGUMENTS: usize = 1024;

/// What [`processes`] is to show; wrong arguments are told before the container is looked at.
pub(crate) fn check(arguments: &str) -> Result<(), Error> {
    if arguments.len() > LONGEST_ARGUMENTS {
        return Err(messages::bad_ps_arguments("the arguments are too long"));
    }
    // A column called PID that holds something else would show other people's processes.
    match renamed_pid(arguments) {
        Some((name, title)) => Err(messages::ps_renames(&name, &title)),
        None => Ok(()),
    }
}

pub(crate) async fn processes(arguments: &str, pids: &[u32]) -> Result<Processes, Error> {
    let arguments = if arguments.trim().is_empty() { DEFAULT_ARGUMENTS } else { arguments };
    let listed = pids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let mut output = run(arguments, Some(&format!("-q{listed}"))).await?;
    if !output.status.success() {
        // Some options do not go with a list of processes.
        output = run(arguments, None).await?;
    }
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let first = words.lines().next().filter(|line| !line.is_empty());
        return Err(messages::bad_ps_arguments(first.unwrap_or(&output.status.to_string())));
    }
    parse(&String::from_utf8_lossy(&output.stdout), pids)
}

async fn run(arguments: &str, more: Option<&str>) -> Result<Output, Error> {
    let words = arguments.split_ascii_whitespace().chain(more);
    let output = Command::new("ps").args(words).kill_on_drop(true).output().await;
    output.map_err(|error| messages::bad_ps_arguments(&format!("exec: \"ps\": {error}")))
}

/// `-o NAME=PID…` where NAME is not `pid`.
fn renamed_pid(arguments: &str) -> Option<(String, String)> {
    let words: Vec<&str> = arguments.split_ascii_whitespace().collect();
    for (at, word) in words.iter().enumerate().skip(usize::from(!arguments.starts_with(char::is_whitespace))) {
        for (equals, _) in word.match_indices('=').collect::<Vec<_>>().into_iter().rev() {
            let (name, behind) = (&word[..equals], &word[equals + 1..]);
            let title = if behind.is_empty() { words.get(at + 1).copied().unwrap_or("") } else { behind };
            if title.starts_with("PID") && name != "pid" {
                return Some((name.to_owned(), title.to_owned()));
            }
        }
    }
    None
}

fn parse(output: &str, pids: &[u32]) -> Result<Processes, Error> {
    let mut lines = output.lines();
    let titles: Vec<String> = lines.next().unwrap_or("").split_ascii_whitespace().map(str::to_owned).collect();
    let column = titles.iter().position(|title| title == "PID").ok_or_else(messages::no_pid_column)?;
    let mut rows = Vec::new();
    // The threads of a process (`ps m`) stand below it with a dash for a number.
    let mut within = false;
    for line in lines.filter(|line| !line.is_empty()) {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        match fields.get(column) {
            Some(&"-") => {}
            Some(number) => {
                let number: u32 = number.parse().map_err(|_| messages::unexpected_pid(number))?;
                within = pids.contains(&number);
            }
            None => continue,
        }
        if within {
            rows.push(row(&fields, titles.len()));
        }
    }
    Ok(Processes { rows, titles })
}

/// As many fields as there are titles; what is more belongs to the last, the command.
fn row(fields: &[&str], count: usize) -> Vec<String> {
    let plain = count.saturating_sub(1).min(fields.len());
    let mut row: Vec<String> = fields[..plain].iter().map(|field| (*field).to_owned()).collect();
    row.push(fields[plain..].join(" "));
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_containers_processes_are_shown() {
        const OUTPUT: &str = "UID    PID  PPID CMD\nroot     1     0 /init --x  y\nroot    42     1 sleep 5\n";
        let processes = parse(OUTPUT, &[1]).unwrap();
        assert_eq!(processes.titles, ["UID", "PID", "PPID", "CMD"]);
        assert_eq!(processes.rows, [["root", "1", "0", "/init --x y"]]);
    }

    #[test]
    fn threads_are_shown_with_their_process() {
        const OUTPUT: &str = "PID CMD\n1 a\n- -\n2 b\n- -\n";
        assert_eq!(parse(OUTPUT, &[2]).unwrap().rows, [["2", "b"], ["-", "-"]]);
    }

    #[test]
    fn output_without_pids_and_renamed_columns_are_refused_in_docker_s_words() {
        assert_eq!(parse("UID CMD\n", &[]).unwrap_err().to_string(), "Couldn't find PID field in ps output");
        let refused = |arguments: &str| check(arguments).err().map(|error| error.to_string());
        assert_eq!(refused("-o ppid=PID,cmd").unwrap(), "specifying \"ppid=PID,cmd\" is not allowed");
        assert_eq!(refused("-e -o ppid= PID").unwrap(), "specifying \"ppid=PID\" is not allowed");
        assert_eq!(refused("-o pid=PID -o cmd"), None);
        assert_eq!(refused("-o pid,cmd"), None);
    }
}
