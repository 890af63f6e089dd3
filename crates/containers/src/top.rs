//! `docker top`: the host's `ps`, cut down to a container's processes.

use tokio::process::Command;

use crate::error::Error;
use crate::messages;
use crate::request::Processes;

/// Docker's arguments when none are given.
const DEFAULT_ARGUMENTS: &str = "-ef";
const LONGEST_ARGUMENTS: usize = 1024;

pub(crate) async fn processes(arguments: &str, pids: &[u32]) -> Result<Processes, Error> {
    let arguments = if arguments.trim().is_empty() { DEFAULT_ARGUMENTS } else { arguments };
    check(arguments)?;
    let output = Command::new("ps")
        .args(arguments.split_whitespace())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| messages::bad_ps_arguments(&error.to_string()))?;
    if !output.status.success() {
        return Err(messages::bad_ps_arguments(
            String::from_utf8_lossy(&output.stderr).trim().lines().next().unwrap_or_default(),
        ));
    }
    parse(&String::from_utf8_lossy(&output.stdout), pids)
}

/// A column called PID that holds something else would show other people's processes.
fn check(arguments: &str) -> Result<(), Error> {
    if arguments.len() > LONGEST_ARGUMENTS {
        return Err(messages::bad_ps_arguments("the arguments are too long"));
    }
    let renames = arguments
        .split([' ', ','])
        .filter_map(|word| word.split_once('='))
        .any(|(_, title)| title.trim().to_ascii_uppercase().contains("PID"));
    if renames {
        return Err(messages::bad_ps_arguments("specifying \"pid\" as the name of a column is not allowed"));
    }
    Ok(())
}

fn parse(output: &str, pids: &[u32]) -> Result<Processes, Error> {
    let mut lines = output.lines();
    let titles: Vec<String> = lines.next().unwrap_or("").split_whitespace().map(str::to_owned).collect();
    let column = titles.iter().position(|title| title == "PID").ok_or_else(messages::no_pid_column)?;
    let rows = lines.filter_map(|line| {
        let row = fields(line, titles.len());
        let pid: u32 = row.get(column)?.parse().ok()?;
        pids.contains(&pid).then_some(row)
    });
    Ok(Processes { rows: rows.collect(), titles })
}

/// At most so many fields; the last one, the command, keeps its blanks.
fn fields(line: &str, count: usize) -> Vec<String> {
    let mut rest = line.trim();
    let mut row = Vec::with_capacity(count);
    while row.len() + 1 < count {
        let Some((field, after)) = rest.split_once(char::is_whitespace) else { break };
        row.push(field.to_owned());
        rest = after.trim_start();
    }
    row.push(rest.to_owned());
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "UID    PID  PPID CMD\nroot     1     0 /init --x  y\nroot    42     1 sleep 5\n";

    #[test]
    fn only_the_containers_processes_are_shown_and_commands_keep_their_blanks() {
        let processes = parse(OUTPUT, &[1]).unwrap();
        assert_eq!(processes.titles, ["UID", "PID", "PPID", "CMD"]);
        assert_eq!(processes.rows, [["root", "1", "0", "/init --x  y"]]);
    }

    #[test]
    fn output_without_pids_and_renamed_columns_are_refused() {
        assert_eq!(parse("UID CMD\n", &[]).unwrap_err().to_string(), "Couldn't find PID field in ps output");
        assert!(check("-o ppid=PID,cmd").is_err());
        assert!(check("-o pid,cmd").is_ok());
    }
}
