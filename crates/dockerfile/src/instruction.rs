//! Instructions with their flags and words, as written: variables are not expanded yet.

use crate::heredoc::Heredoc;
use crate::lines::Lines;
use crate::mount::Mount;

/// An instruction and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub instruction: Instruction,
    /// The text, continued lines joined, as progress shows it.
    pub original: String,
    /// As it is written.
    pub keyword: String,
    pub lines: Lines,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    Add(Transfer),
    Arg(Vec<Arg>),
    Cmd(CommandLine),
    Copy(Transfer),
    Entrypoint(CommandLine),
    Env(Vec<Pair>),
    Expose(Vec<String>),
    Healthcheck(Healthcheck),
    Label(Vec<Pair>),
    Maintainer(String),
    /// The trigger's text, and the texts of its here-documents behind it.
    OnBuild(String),
    Run(Run),
    Shell(Vec<String>),
    StopSignal(String),
    User(String),
    Volume(Vec<String>),
    WorkDir(String),
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub key: String,
    pub value: String,
    /// `ENV key value`: the old form without an equals sign.
    pub legacy: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arg {
    pub name: String,
    pub default: Option<String>,
}

/// What runs: a line for a shell, or a program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    Shell(String),
    Exec(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub command: CommandLine,
    pub heredocs: Vec<Heredoc>,
    pub mounts: Vec<Mount>,
    pub network: NetworkMode,
    pub security: SecurityMode,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NetworkMode {
    #[default]
    Default,
    None,
    Host,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SecurityMode {
    #[default]
    Sandbox,
    Insecure,
}

/// COPY and ADD.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transfer {
    pub sources: Vec<Source>,
    pub destination: String,
    pub from: Option<String>,
    pub chown: String,
    pub chmod: String,
    pub link: bool,
    pub parents: bool,
    pub exclude: Vec<String>,
    /// ADD only, as all below.
    pub keep_git_dir: bool,
    pub checksum: String,
    /// `None`: local archives are unpacked, those of URLs are not.
    pub unpack: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Path(String),
    Inline(Heredoc),
}

/// A probe; times in nanoseconds, 0 where nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Healthcheck {
    /// `NONE`; `CMD` and its words; `CMD-SHELL` and a line.
    pub test: Vec<String>,
    pub interval: i64,
    pub timeout: i64,
    pub start_period: i64,
    pub start_interval: i64,
    pub retries: i64,
}

impl Instruction {
    /// The stages and images that it reads files of, by the names that it has for them.
    pub fn sources(&self) -> Vec<&str> {
        match self {
            Self::Copy(copy) => copy.from.iter().map(String::as_str).collect(),
            Self::Run(run) => {
                run.mounts.iter().map(|mount| mount.from.as_str()).filter(|from| !from.is_empty()).collect()
            }
            _ => Vec::new(),
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Add(_) => "ADD",
            Self::Arg(_) => "ARG",
            Self::Cmd(_) => "CMD",
            Self::Copy(_) => "COPY",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Env(_) => "ENV",
            Self::Expose(_) => "EXPOSE",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Label(_) => "LABEL",
            Self::Maintainer(_) => "MAINTAINER",
            Self::OnBuild(_) => "ONBUILD",
            Self::Run(_) => "RUN",
            Self::Shell(_) => "SHELL",
            Self::StopSignal(_) => "STOPSIGNAL",
            Self::User(_) => "USER",
            Self::Volume(_) => "VOLUME",
            Self::WorkDir(_) => "WORKDIR",
        }
    }
}
