//! The commands: from parsed flags to an operation and its output.

use crate::arguments::Parsed;
use crate::checkpointing;
use crate::flags::{Command, Name};
use crate::log::Log;
use crate::output;
use errors::chain;
use runtime::create::{CgroupDriver, CreateRequest, Mode};
use runtime::delete::Force;
use runtime::exec::{Changes, ExecRequest, ProcessSource};
use runtime::{
    Notes, Root, RuntimeError, bundle, create, delete, exec, features, kill, list, pause, start, statistics, update,
};
use runtime_core::spec_resources::Resources;
use runtime_core::template::{self, Audience, CgroupVersion};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Commands that enter a container or make one.
pub const TOUCHING: [&str; 4] = ["create", "run", "exec", "restore"];
/// The exit code of a failed exec, as runc's.
const EXEC_FAILED: u8 = 255;
/// What `update --resources -` reads at most.
const MAX_RESOURCES: u64 = 1 << 20;

#[derive(Debug)]
pub struct Failure {
    pub message: String,
    pub code: u8,
}

impl From<RuntimeError> for Failure {
    fn from(error: RuntimeError) -> Self {
        Self { message: chain(&error), code: 1 }
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self { message, code: 1 }
    }
}

fn prefixed(prefix: &'static str, code: u8) -> impl Fn(RuntimeError) -> Failure {
    move |error| Failure { message: format!("{prefix}: {}", chain(&error)), code }
}

pub fn run(command: &Command, global: &Parsed, parsed: &Parsed, log: &Log) -> Result<i32, Failure> {
    let root = root(global)?;
    let id = parsed.positionals.first().map_or("", String::as_str);
    let mut notes = Notes { wants_details: global.is_set("debug"), ..Notes::default() };
    let answer = match command.name {
        Name::Create => {
            let created = run_create(&root, global, parsed, Mode::Create, &mut notes);
            created.map_err(prefixed("runc create failed", 1))
        }
        Name::Run => run_run(&root, global, parsed, &mut notes).map_err(prefixed("runc run failed", 1)),
        Name::Exec => run_exec(&root, parsed, &mut notes).map_err(prefixed("exec failed", EXEC_FAILED)),
        Name::Start => done(start::start(&root, id)),
        Name::Delete => {
            let force = if parsed.is_set("force") { Force::Yes } else { Force::No };
            done(delete::delete(&root, id, force, &mut notes))
        }
        Name::Kill => run_kill(&root, parsed),
        Name::State => print_state(&root, id),
        Name::List => {
            if global.value("root").is_some() && !root.path().is_dir() {
                return Err(format!("open {}: no such file or directory", root.path().display()).into());
            }
            run_list(&root, parsed, log)
        }
        Name::Ps => run_ps(&root, parsed),
        Name::Pause => done(pause::pause(&root, id)),
        Name::Resume => done(pause::resume(&root, id)),
        Name::Update => run_update(&root, parsed, &mut notes),
        Name::Events => run_events(&root, parsed),
        Name::Spec => run_spec(parsed),
        Name::Features => print(&format!("{}\n", output::pretty(&features::features()))),
        Name::Checkpoint => done(checkpointing::run_checkpoint(&root, parsed, &mut notes)),
        Name::Restore => checkpointing::run_restore(&root, global, parsed, &mut notes).map_err(Failure::from),
    };
    for detail in &notes.details {
        log.debug(detail);
    }
    for warning in &notes.warnings {
        log.warning(warning);
    }
    log.debug(command.word);
    answer
}

fn done(answer: Result<(), RuntimeError>) -> Result<i32, Failure> {
    Ok(answer.map(|()| 0)?)
}

fn print(text: &str) -> Result<i32, Failure> {
    std::io::stdout().write_all(text.as_bytes()).map(|()| 0).map_err(|error| error.to_string().into())
}

fn root(global: &Parsed) -> Result<Root, Failure> {
    let path = match global.value("root") {
        Some(path) => PathBuf::from(path),
        // A user without root has a run-time folder of its own.
        None => match std::env::var_os("XDG_RUNTIME_DIR") {
            Some(folder) if !is_root() => PathBuf::from(folder).join("runc"),
            _ => PathBuf::from("/run/runc"),
        },
    };
    std::path::absolute(&path).map(Root::new).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&match std::fs::metadata("/proc/self") {
        Ok(metadata) => metadata,
        Err(_) => return true,
    }) == 0
}

pub(crate) fn number<T: std::str::FromStr>(parsed: &Parsed, name: &str) -> Result<Option<T>, RuntimeError> {
    let parse = |text: &str| {
        text.parse().map_err(|_| RuntimeError::InvalidArgument(format!("invalid value {text:?} for flag -{name}")))
    };
    parsed.value(name).map(parse).transpose()
}

/// `64m`, `1.5GiB`, a number of bytes, or -1.
fn size(parsed: &Parsed, name: &str) -> Result<Option<i64>, RuntimeError> {
    let invalid =
        |text: &str| RuntimeError::InvalidArgument(format!("invalid value for {name}: invalid size: '{text}'"));
    parsed.value(name).map(|text| parse_size(text).ok_or_else(|| invalid(text))).transpose()
}

fn parse_size(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let lower = text.to_ascii_lowercase();
    let unit = lower.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
    let power = match unit.trim_start().trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let value: f64 = lower[..lower.len() - unit.len()].parse().ok()?;
    let bytes = value * 1024_f64.powi(power);
    (bytes < i64::MAX as f64).then_some(bytes as i64)
}

pub(crate) fn path(parsed: &Parsed, name: &str) -> Option<PathBuf> {
    parsed.value(name).filter(|text| !text.is_empty()).map(PathBuf::from)
}

fn run_create(
    root: &Root,
    global: &Parsed,
    parsed: &Parsed,
    mode: Mode,
    notes: &mut Notes,
) -> Result<i32, RuntimeError> {
    create::create(root, &create_request(global, parsed)?, mode, notes)
}

pub(crate) fn create_request(global: &Parsed, parsed: &Parsed) -> Result<CreateRequest, RuntimeError> {
    Ok(CreateRequest {
        id: parsed.positionals.first().cloned().unwrap_or_default(),
        bundle: path(parsed, "bundle").unwrap_or_else(|| PathBuf::from(".")),
        console_socket: path(parsed, "console-socket"),
        pid_file: path(parsed, "pid-file"),
        no_pivot: parsed.is_set("no-pivot"),
        no_new_keyring: parsed.is_set("no-new-keyring"),
        preserve_fds: number(parsed, "preserve-fds")?.unwrap_or(0),
        listen_fds: listen_fds(),
        pidfd_socket: path(parsed, "pidfd-socket"),
        cgroups: if global.is_set("systemd-cgroup") { CgroupDriver::Systemd } else { CgroupDriver::Folders },
    })
}

/// How many sockets whoever started this program passes to it (sd_listen_fds(3)).
fn listen_fds() -> u32 {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    let for_us = number("LISTEN_PID") == Some(std::process::id());
    number("LISTEN_FDS").filter(|_| for_us).unwrap_or(0)
}

fn run_run(root: &Root, global: &Parsed, parsed: &Parsed, notes: &mut Notes) -> Result<i32, RuntimeError> {
    run_create(root, global, parsed, run_mode(parsed), notes)
}

pub(crate) fn run_mode(parsed: &Parsed) -> Mode {
    if parsed.is_set("detach") {
        return Mode::Detached;
    }
    Mode::Foreground { keep: parsed.is_set("keep"), subreaper: !parsed.is_set("no-subreaper") }
}

fn run_exec(root: &Root, parsed: &Parsed, notes: &mut Notes) -> Result<i32, RuntimeError> {
    let (id, args) = parsed.positionals.split_first().map_or(("", &[][..]), |(id, args)| (id.as_str(), args));
    let process = match path(parsed, "process") {
        Some(file) => ProcessSource::File(file),
        None if args.is_empty() => {
            return Err(RuntimeError::InvalidArgument("process args cannot be empty".into()));
        }
        None => ProcessSource::Arguments(Box::new(changes(parsed, args)?)),
    };
    let request = ExecRequest {
        id: id.to_string(),
        process,
        console_socket: path(parsed, "console-socket"),
        pid_file: path(parsed, "pid-file"),
        detach: parsed.is_set("detach"),
        preserve_fds: number(parsed, "preserve-fds")?.unwrap_or(0),
        ignore_paused: parsed.is_set("ignore-paused"),
        sub_cgroups: parsed.list("cgroup"),
        pidfd_socket: path(parsed, "pidfd-socket"),
    };
    exec::exec(root, &request, notes)
}

fn changes(parsed: &Parsed, args: &[String]) -> Result<Changes, RuntimeError> {
    let gid = |text: &String| {
        text.parse::<u32>().map_err(|_| RuntimeError::InvalidArgument(format!("invalid additional gid {text:?}")))
    };
    Ok(Changes {
        args: args.to_vec(),
        terminal: parsed.is_set("tty"),
        cwd: parsed.value("cwd").map(str::to_string),
        env: parsed.list("env"),
        user: parsed.value("user").map(str::to_string),
        additional_gids: parsed.list("additional-gids").iter().map(gid).collect::<Result<_, _>>()?,
        capabilities: parsed.list("cap"),
        no_new_privileges: parsed.is_set("no-new-privs"),
        apparmor: parsed.value("apparmor").map(str::to_string),
        process_label: parsed.value("process-label").map(str::to_string),
    })
}

fn run_kill(root: &Root, parsed: &Parsed) -> Result<i32, Failure> {
    let id = parsed.positionals.first().map_or("", String::as_str);
    let signal = kill::parse_signal(parsed.positionals.get(1).map_or("SIGTERM", String::as_str))?;
    done(kill::kill(root, id, signal, parsed.is_set("all")))
}

fn print_state(root: &Root, id: &str) -> Result<i32, Failure> {
    let row = list::state(root, id)?;
    let owner = output::owner(row.record.owner);
    print(&format!("{}\n", output::pretty(&row.json(&owner))))
}

fn run_list(root: &Root, parsed: &Parsed, log: &Log) -> Result<i32, Failure> {
    let (rows, broken) = list::list(root)?;
    for message in &broken {
        log.error(message);
    }
    if parsed.is_set("quiet") {
        return print(&rows.iter().map(|row| format!("{}\n", row.record.id)).collect::<String>());
    }
    match parsed.value("format") {
        None | Some("table") => print(&output::table(&rows)),
        Some("json") => {
            let rows: Vec<_> = rows.iter().map(|row| row.json(&output::owner(row.record.owner))).collect();
            print(&format!("{}\n", if rows.is_empty() { "null".into() } else { serde_json::json!(rows).to_string() }))
        }
        Some(_) => Err("invalid format option".to_string().into()),
    }
}

fn run_ps(root: &Root, parsed: &Parsed) -> Result<i32, Failure> {
    let (id, options) = parsed.positionals.split_first().map_or(("", &[][..]), |(id, rest)| (id.as_str(), rest));
    let pids = list::processes(root, id)?;
    match parsed.value("format") {
        Some("json") => return print(&format!("{}\n", serde_json::json!(pids))),
        None | Some("table") => {}
        Some(_) => return Err("invalid format option".to_string().into()),
    }
    let options: &[String] = if options.is_empty() { &["-ef".to_string()] } else { options };
    let output = std::process::Command::new("ps").args(options).output();
    let output = output.map_err(|error| format!("exec: \"ps\": {error}"))?;
    if !output.status.success() {
        return Err(format!("ps: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    print(&output::filter_ps(&text, &pids).ok_or_else(|| "couldn't find PID field in ps output".to_string())?)
}

fn run_update(root: &Root, parsed: &Parsed, notes: &mut Notes) -> Result<i32, Failure> {
    let id = parsed.positionals.first().map_or("", String::as_str);
    let resources = match parsed.value("resources") {
        Some("-") => {
            let mut bytes = Vec::new();
            let read = std::io::stdin().take(MAX_RESOURCES).read_to_end(&mut bytes);
            read.map_err(|error| format!("read stdin: {error}"))?;
            update::parse_resources(&bytes)?
        }
        Some(file) => update::parse_resources(&bundle::read_bounded(Path::new(file))?)?,
        None => resources(parsed)?,
    };
    done(update::update(root, id, &resources, notes))
}

fn resources(parsed: &Parsed) -> Result<Resources, RuntimeError> {
    let mut resources = Resources::default();
    resources.block_io.weight = number(parsed, "blkio-weight")?;
    let cpu = &mut resources.cpu;
    cpu.period = number(parsed, "cpu-period")?;
    cpu.quota = number(parsed, "cpu-quota")?;
    cpu.burst = number(parsed, "cpu-burst")?;
    cpu.shares = number(parsed, "cpu-share")?;
    cpu.realtime_period = number(parsed, "cpu-rt-period")?;
    cpu.realtime_runtime = number(parsed, "cpu-rt-runtime")?;
    cpu.idle = number(parsed, "cpu-idle")?;
    cpu.cpus = parsed.value("cpuset-cpus").unwrap_or("").to_string();
    cpu.mems = parsed.value("cpuset-mems").unwrap_or("").to_string();
    let memory = &mut resources.memory;
    memory.limit = size(parsed, "memory")?;
    memory.reservation = size(parsed, "memory-reservation")?;
    memory.swap = size(parsed, "memory-swap")?;
    resources.pids.limit = number(parsed, "pids-limit")?;
    Ok(resources)
}

fn run_events(root: &Root, parsed: &Parsed) -> Result<i32, Failure> {
    let id = parsed.positionals.first().map_or("", String::as_str);
    let interval = parsed.value("interval").map_or(Some(Duration::from_secs(5)), parse_duration);
    let interval = interval.filter(|interval| !interval.is_zero()).ok_or_else(|| "invalid interval".to_string())?;
    if parsed.is_set("stats") {
        return print(&format!("{}\n", statistics::event(root, id)?));
    }
    // Whoever reads no more has heard enough.
    statistics::follow(root, id, interval, |event| print(&format!("{event}\n")).is_ok())?;
    Ok(0)
}

/// `5s`, `200ms`, `1m`.
fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let value: u64 = digits.parse().ok()?;
    match &text[digits.len()..] {
        "ms" => Some(Duration::from_millis(value)),
        "s" => Some(Duration::from_secs(value)),
        "m" => value.checked_mul(60).map(Duration::from_secs),
        _ => None,
    }
}

fn run_spec(parsed: &Parsed) -> Result<i32, Failure> {
    let folder = path(parsed, "bundle").unwrap_or_else(|| PathBuf::from("."));
    let file = folder.join("config.json");
    let audience = if parsed.is_set("rootless") { rootless() } else { Audience::Root };
    let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let cgroups = if v2 { CgroupVersion::V2 } else { CgroupVersion::V1 };
    let text = output::tabbed(&template::config(audience, cgroups));
    let created = std::fs::OpenOptions::new().write(true).create_new(true).open(&file);
    let mut opened = created.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => format!("File {} exists. Remove it first", file.display()),
        _ => format!("open {}: {error}", file.display()),
    })?;
    opened.write_all(text.as_bytes()).map(|()| 0).map_err(|error| format!("write {}: {error}", file.display()).into())
}

fn rootless() -> Audience {
    use std::os::unix::fs::MetadataExt;
    let (uid, gid) = std::fs::metadata("/proc/self").map_or((0, 0), |metadata| (metadata.uid(), metadata.gid()));
    Audience::Rootless { uid, gid }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("64", 64), ("50M", 50 << 20), ("1.5GiB", 3 << 29), ("7kb", 7 << 10), ("-1", -1)] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "m", "5x", "-2", "1e"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
