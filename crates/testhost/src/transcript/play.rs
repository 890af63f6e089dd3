//! The stage: a shell of the host on a pseudo-terminal, in which every step is typed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::pattern::Known;
use super::{Step, Transcript};
use crate::docker::Docker;
use crate::host::{Host, wait_until};
use crate::pty::Terminal;
use crate::screen::Screen;

/// Wide enough that no line of a transcript is broken.
const WIDTH: u16 = 250;
const HEIGHT: u16 = 60;
/// The host's prompt.
const PROMPT: &str = "$ ";

/// Where a transcript is played.
pub struct Stage<'h> {
    pub host: &'h Host,
    /// Who is `docker`.
    pub docker: Docker,
    /// Variables of the shell besides.
    pub variables: Vec<(String, String)>,
}

/// Types every step and compares what is shown with what is written down.
pub fn play(stage: &Stage<'_>, transcript: &Transcript) -> Result<()> {
    let mut terminal = Terminal::start(&stage.shell()?)?;
    terminal.resize(WIDTH, HEIGHT)?;
    let mut player = Player { known: Known::default(), place: Place::default() };
    let mut before: Option<&Step> = None;
    for step in &transcript.steps {
        player.arrive(&terminal, before, &step.prompt)?;
        let typed = player.known.fill(&step.typed).with_context(|| format!("line {}", step.line))?;
        terminal.type_keys(&keys(&typed))?;
        player.place.typed = typed;
        before = Some(step);
    }
    player.arrive(&terminal, before, PROMPT)?;
    terminal.type_keys("exit\n")?;
    terminal.wait().map(drop)
}

/// Where the last step was typed.
#[derive(Debug, Default)]
struct Place {
    row: usize,
    column: usize,
    typed: String,
}

struct Player {
    known: Known,
    place: Place,
}

impl Player {
    /// Waits for the next prompt and judges what was shown before it.
    fn arrive(&mut self, terminal: &Terminal, before: Option<&Step>, prompt: &str) -> Result<()> {
        let line = before.map_or(0, |step| step.line);
        let has_enter = !ends_with_key(&self.place.typed);
        let found = wait_until(&format!("the prompt {prompt:?} behind line {line}"), || {
            let screen = Screen::show(&terminal.screen(), usize::from(HEIGHT));
            let moved = match before {
                Some(_) if has_enter => screen.row > self.place.row,
                _ => (screen.row, screen.column) > (self.place.row, self.place.column),
            };
            let rest = self.known.clone().matches_end(prompt, &screen.before_cursor()).map(str::to_owned);
            rest.filter(|_| moved).map(|rest| (screen, rest))
        });
        let (screen, rest) = found.with_context(|| self.seen(terminal))?;
        self.known.matches_end(prompt, &screen.before_cursor());
        if let Some(step) = before {
            let mut shown = screen.since(self.place.row, self.place.column);
            if let Some(last) = shown.last_mut() {
                *last = if self.place.row == screen.row { String::new() } else { rest };
            }
            if let Some(first) = shown.first_mut().filter(|_| has_enter) {
                let echo = first.strip_prefix(self.place.typed.trim_end()).map(str::to_owned);
                *first = echo.with_context(|| format!("line {line} was shown as {first:?}"))?;
            }
            self.known.compare_lines(&step.shown, &shown).with_context(|| {
                format!("line {line}, {}{}\nshowed:\n{}", step.prompt, step.typed, shown.join("\n"))
            })?;
        }
        (self.place.row, self.place.column) = (screen.row, screen.column);
        Ok(())
    }

    fn seen(&self, terminal: &Terminal) -> String {
        let screen = Screen::show(&terminal.screen(), usize::from(HEIGHT));
        let lines: Vec<String> = (self.place.row..=screen.row).map(|row| screen.line(row)).collect();
        format!("the terminal shows:\n{}", lines.join("\n"))
    }
}

/// `^P` and its like as the keys that they are, and Enter behind everything else.
fn keys(typed: &str) -> String {
    let (mut keys, mut rest) = (String::new(), typed);
    while let Some((at, key)) = find_key(rest) {
        keys.push_str(&rest[..at]);
        keys.push(char::from(key & 0x1f));
        rest = &rest[at + 2..];
    }
    keys.push_str(rest);
    if !ends_with_key(typed) {
        keys.push('\n');
    }
    keys
}

fn find_key(text: &str) -> Option<(usize, u8)> {
    text.as_bytes().windows(2).position(|two| is_key(two)).map(|at| (at, text.as_bytes()[at + 1]))
}

fn ends_with_key(text: &str) -> bool {
    text.len() >= 2 && is_key(&text.as_bytes()[text.len() - 2..])
}

fn is_key(two: &[u8]) -> bool {
    two[0] == b'^' && two[1].is_ascii_uppercase()
}

impl Stage<'_> {
    fn shell(&self) -> Result<Command> {
        let (home, programs) = (self.host.path("home"), self.own_programs()?);
        // What a session left lying there is not the next one's.
        let _ = fs::remove_dir_all(&home);
        fs::create_dir_all(&home)?;
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("env");
        command.arg("--chdir").arg(&home).args(["bash", "--norc", "--noprofile", "--noediting", "-i"]);
        command.env("PATH", format!("{}:{path}", programs.display())).env("HOME", &home);
        command.env("DOCKER_HOST", &self.docker.host).env("DOCKER_CONFIG", &self.docker.config);
        // The book's builds are those of the classic builder.
        command.env("DOCKER_BUILDKIT", "0");
        command.env("PS1", PROMPT).env("PS2", "> ").env("TERM", "xterm").env("LC_ALL", "C.UTF-8");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// A folder in which `docker` is the client of this stage; the other programs are those under test.
    fn own_programs(&self) -> Result<PathBuf> {
        let folder = self.host.path("programs");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        ensure!(self.docker.program.is_absolute(), "{} is not found", self.docker.program.display());
        symlink(&self.docker.program, folder.join("docker"))?;
        for program in ["dockerd", "docker-containerd", "docker-containerd-shim", "docker-runc"] {
            symlink(self.host.programs().join(program), folder.join(program))?;
        }
        Ok(folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_pressed_and_lines_end_with_enter() {
        assert_eq!(keys("ls ^X x"), "ls \u{18} x\n");
        assert_eq!(keys("^P^Q"), "\u{10}\u{11}");
        assert_eq!(keys(""), "\n");
    }
}
