//! `docker-runc`: an OCI runtime with runc's command line. Parses arguments, calls `runtime`, prints; nothing else.

mod arguments;
mod checkpointing;
mod commands;
mod flags;
mod help;
mod log;
mod output;

use arguments::Parsed;
use log::Log;
use std::process::ExitCode;

/// What a configuration like Docker's and its plan take.
const HEAP: usize = 192 << 10;

fn main() -> ExitCode {
    runtime::protect::keep_own_name();
    let args: Vec<String> = match std::env::args_os().skip(1).map(std::ffi::OsString::into_string).collect() {
        Ok(args) => args,
        Err(_) => return fail(&Log::default(), "an argument is not UTF-8", 1),
    };
    // Whatever else they say: what is to touch a container executes itself again, the sooner the less was done for nothing.
    if args.iter().any(|arg| commands::TOUCHING.contains(&arg.as_str())) {
        if let Err(error) = runtime::protect::protect_own_binary() {
            return fail(&Log::default(), &errors::chain(&error), 1);
        }
        sys::memory::take_heap(HEAP);
        // This one stays as long as its container does.
        if args.iter().any(|arg| arg == "run") {
            sys::memory::map_text_in_pieces();
        }
    }
    let global = match arguments::parse(flags::GLOBAL, &args, arguments::Positionals::EndFlags) {
        Ok(global) => global,
        Err(message) => return fail(&Log::default(), &message, 1),
    };
    let log = match Log::open(&global) {
        Ok(log) => log,
        Err(message) => return fail(&Log::default(), &message, 1),
    };
    if global.is_set("version") {
        print!("{}", help::version());
        return ExitCode::SUCCESS;
    }
    let Some((name, rest)) = global.positionals.split_first() else {
        print!("{}", help::overview());
        return ExitCode::SUCCESS;
    };
    let rest = rest.to_vec();
    run(&global, name, &rest, &log)
}

fn run(global: &Parsed, name: &str, rest: &[String], log: &Log) -> ExitCode {
    if matches!(name, "help" | "h") {
        print!("{}", rest.first().and_then(|name| help::command(name)).unwrap_or_else(help::overview));
        return ExitCode::SUCCESS;
    }
    let Some(command) = flags::find(name) else {
        println!("No help topic for '{name}'");
        return ExitCode::from(3);
    };
    let parsed = match arguments::parse(command.flags, rest, command.positionals) {
        Ok(parsed) => parsed,
        Err(message) => return fail(log, &message, 1),
    };
    if parsed.is_set("help") {
        print!("{}", help::command(name).unwrap_or_else(help::overview));
        return ExitCode::SUCCESS;
    }
    let (least, most) = command.operands;
    let count = parsed.positionals.len();
    if count < least || count > most {
        let message = format!("docker-runc: \"{name}\" requires {}, got {count}", help::operands(command));
        return fail(log, &message, 1);
    }
    match commands::run(command, global, &parsed, log) {
        Ok(code) => ExitCode::from(code as u8),
        Err(failure) => fail(log, &failure.message, failure.code),
    }
}

/// The error goes into the log, and onto stderr unless that is the log.
fn fail(log: &Log, message: &str, code: u8) -> ExitCode {
    log.error(message);
    if !log.is_stderr() {
        eprintln!("{message}");
    }
    ExitCode::from(code)
}
