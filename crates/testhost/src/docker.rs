//! A docker client, ours or Docker's own, that talks to one engine.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::running::Running;

/// Which program, and where its engine is.
#[derive(Debug, Clone)]
pub struct Docker {
    pub program: PathBuf,
    pub host: String,
    /// A folder for config.json, so that the user's own is not read.
    pub config: PathBuf,
}

/// A command that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Docker {
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(words).env("DOCKER_HOST", &self.host).env("DOCKER_CONFIG", &self.config);
        command.env_remove("DOCKER_CONTEXT").env_remove("DOCKER_API_VERSION");
        // The classic builder, whose output the book shows, unless a test asks for the other.
        command.env("DOCKER_BUILDKIT", "0");
        command
    }

    /// Runs to the end, whatever the exit code.
    pub fn try_run(&self, words: &[&str]) -> Result<Ran> {
        self.try_run_with(words, b"")
    }

    /// The same with this input.
    pub fn try_run_with(&self, words: &[&str], input: &[u8]) -> Result<Ran> {
        let mut running = self.start(words)?;
        running.write_and_close(input)?;
        running.wait()
    }

    /// Runs to the end, must succeed; its standard output without the last newline.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        self.run_with(words, b"")
    }

    /// The same with this input.
    pub fn run_with(&self, words: &[&str], input: &[u8]) -> Result<String> {
        let ran = self.try_run_with(words, input)?;
        ensure!(ran.code == 0, "docker {}: exit {}\n{}{}", words.join(" "), ran.code, ran.stdout, ran.stderr);
        Ok(ran.stdout.trim_end_matches('\n').to_owned())
    }

    /// Starts a command whose output is looked at while it runs.
    pub fn start(&self, words: &[&str]) -> Result<Running> {
        Running::start(self.command(words))
    }
}
