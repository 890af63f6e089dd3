//! A docker client, ours or Docker's own, that talks to one engine.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

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
        command
    }

    /// Runs to the end, whatever the exit code.
    pub fn try_run(&self, words: &[&str]) -> Result<Ran> {
        self.try_run_with(words, b"")
    }

    /// The same with this input.
    pub fn try_run_with(&self, words: &[&str], input: &[u8]) -> Result<Ran> {
        let mut child = self.spawn(words)?;
        let mut stdin = child.stdin.take().context("stdin")?;
        let input = input.to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output()?;
        // A program that does not read its input to the end closes it: no failure of the test.
        let _ = writer.join();
        Ok(Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
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

    /// Starts with pipes on all three streams.
    pub fn spawn(&self, words: &[&str]) -> Result<Child> {
        let mut command = self.command(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().with_context(|| format!("{command:?}"))
    }
}
