//! Docker's own chains in the tables of iptables, for hosts that live by them (`"firewall-backend": "iptables"`).
//!
//! What may pass is decided by our table all the same, which drops what Docker would drop. These chains accept the rest,
//! so that a policy of the host's FORWARD chain does not drop it, and give DOCKER-USER its place in front. `iptables`
//! itself is run: it knows which of its back ends the host uses.

use std::io::Write;
use std::process::{Command, Stdio};

use errors::ErrorKind;

use crate::config::FirewallConfig;
use crate::error::Error;

const USER: &str = "DOCKER-USER";
const FORWARD: &str = "DOCKER-FORWARD";

/// Sees to it that the chains are there, accept what comes from and goes to these bridges, and are jumped to in Docker's
/// order. Idempotent.
pub(crate) fn apply(config: &FirewallConfig, bridges: &[String]) -> Result<(), Error> {
    if !config.docker_chains {
        return Ok(());
    }
    for (program, is_on) in [("iptables", config.ipv4), ("ip6tables", config.ipv6)] {
        if is_on {
            apply_family(program, bridges)?;
        }
    }
    Ok(())
}

fn apply_family(program: &str, bridges: &[String]) -> Result<(), Error> {
    // Its rules are the administrator's; that it is there already is no error.
    if !is_true(program, &["-S", USER])? {
        run(program, &["-N", USER])?;
    }
    restore(program, &rules(bridges))?;
    for (chain, place) in [(FORWARD, "1"), (USER, "1")] {
        while is_true(program, &["-C", "FORWARD", "-j", chain])? {
            run(program, &["-D", "FORWARD", "-j", chain])?;
        }
        run(program, &["-I", "FORWARD", place, "-j", chain])?;
    }
    Ok(())
}

/// What `iptables-restore` reads: it empties a chain that is declared, and fills it again, at once.
fn rules(bridges: &[String]) -> String {
    let mut text = format!("*filter\n:{FORWARD} - [0:0]\n");
    for bridge in bridges {
        text.push_str(&format!("-A {FORWARD} -o {bridge} -j ACCEPT\n-A {FORWARD} -i {bridge} -j ACCEPT\n"));
    }
    text.push_str("COMMIT\n");
    text
}

fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    // Waits for whoever else changes the tables.
    command.arg("-w").stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn is_true(program: &str, words: &[&str]) -> Result<bool, Error> {
    let status = command(program).args(words).stderr(Stdio::null()).status();
    status.map(|status| status.success()).map_err(|source| not_run(program, &source))
}

fn run(program: &str, words: &[&str]) -> Result<(), Error> {
    let output = command(program).args(words).stderr(Stdio::piped()).output();
    let output = output.map_err(|source| not_run(program, &source))?;
    if output.status.success() { Ok(()) } else { Err(failed(program, words.join(" "), &output.stderr)) }
}

fn restore(program: &str, text: &str) -> Result<(), Error> {
    let name = format!("{program}-restore");
    let spawned = command(&name).arg("--noflush").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.map_err(|source| not_run(&name, &source))?;
    if let Some(mut input) = child.stdin.take() {
        // A program that does not read says why when it ends.
        let _ = input.write_all(text.as_bytes());
    }
    let output = child.wait_with_output().map_err(|source| not_run(&name, &source))?;
    if output.status.success() { Ok(()) } else { Err(failed(&name, format!("fill {FORWARD}"), &output.stderr)) }
}

fn not_run(program: &str, source: &std::io::Error) -> Error {
    let message = format!("cannot run {program}, which the firewall backend iptables needs: {source}");
    Error::docker(ErrorKind::FailedPrecondition, message)
}

fn failed(program: &str, what: String, stderr: &[u8]) -> Error {
    let told = String::from_utf8_lossy(&stderr[..stderr.len().min(1024)]).trim().to_owned();
    Error::docker(ErrorKind::Internal, format!("{program} {what}: {told}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bridge_is_accepted_both_ways_and_the_chain_filled_at_once() {
        let expected = "*filter\n:DOCKER-FORWARD - [0:0]\n-A DOCKER-FORWARD -o br0 -j ACCEPT\n\
                        -A DOCKER-FORWARD -i br0 -j ACCEPT\nCOMMIT\n";
        assert_eq!(rules(&["br0".to_owned()]), expected);
    }
}
