//! Manual pages (man(7)), a page a command, from the same rows as the help.
//!
//! `docker generate-manual FOLDER` writes them when the program is installed.

use std::fmt::Write as _;
use std::fs;
use std::path::Path as FilePath;

use crate::command::tree::ROOT;
use crate::command::{Args, Command, Flag, Path, globals, help};
use crate::failure::Failure;
use crate::messages;

pub const COMMAND: Command = Command {
    name: "generate-manual",
    usage: "FOLDER",
    about: "Write the manual pages of all commands into a folder",
    hidden: true,
    local: true,
    args: Args::Exactly(1),
    action: Some(|_, flags| Box::pin(async move { write(FilePath::new(flags.arg(0))) })),
    ..Command::EMPTY
};

/// What the environment changes; for the page of `docker` itself.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("DOCKER_API_VERSION", "The version of the Engine API that is spoken, instead of one that is agreed on."),
    ("DOCKER_CERT_PATH", "Folder of ca.pem, cert.pem and key.pem."),
    ("DOCKER_CONFIG", "Folder of the client's configuration, instead of ~/.docker."),
    ("DOCKER_CONTEXT", "Name of the context to use, unless DOCKER_HOST or an option says otherwise."),
    ("DOCKER_CUSTOM_HEADERS", "Headers for every request, as name=value,name=value."),
    ("DOCKER_DEFAULT_PLATFORM", "What --platform is where it is not given."),
    ("DOCKER_HOST", "The daemon's address: unix://, tcp:// or ssh://."),
    ("DOCKER_TLS", "TLS is used when this is not empty."),
    ("DOCKER_TLS_VERIFY", "TLS is used and the daemon's certificate verified when this is not empty."),
];

fn write(folder: &FilePath) -> Result<u8, Failure> {
    fs::create_dir_all(folder)?;
    let mut pages = Vec::new();
    collect(&Path { words: "docker".to_owned(), command: &ROOT }, &mut pages);
    for (name, text) in &pages {
        fs::write(folder.join(format!("{name}.1")), text)?;
    }
    Ok(0)
}

fn collect(path: &Path, pages: &mut Vec<(String, String)>) {
    pages.push((path.words.replace(' ', "-"), page(path)));
    for child in help::listed(path.command).filter_map(|child| path.child(child.name)) {
        collect(&child, pages);
    }
}

fn page(path: &Path) -> String {
    let command = path.command;
    let name = path.words.replace(' ', "-");
    let mut page = format!(
        ".TH {} 1 \"\" \"Docker {}\" \"Docker User Manuals\"\n",
        quoted(&name.to_uppercase()),
        escaped(messages::VERSION)
    );
    let _ = writeln!(page, ".SH NAME\n{} \\- {}", escaped(&name), escaped(command.about));
    let usage = help::usage_line(path);
    let usage = usage.trim_start_matches("Usage:").trim();
    let is_bare = command.is_noun() && !usage.contains(" COMMAND");
    let usage = if is_bare { format!("{usage} COMMAND") } else { usage.to_owned() };
    let _ = writeln!(page, ".SH SYNOPSIS\n.B {}", escaped(&usage));
    let _ = writeln!(page, ".SH DESCRIPTION\n.nf\n{}\n.fi", escaped(help::description(command)));
    if !command.aliases.is_empty() {
        let _ = writeln!(page, ".SH ALIASES\n{}", escaped(command.aliases));
    }
    let rows: Vec<&Flag> = if path.words == "docker" {
        globals::flags().iter().collect()
    } else {
        command.flags.iter().flat_map(|group| group.iter()).collect()
    };
    options(&mut page, rows);
    commands(&mut page, path);
    if path.words == "docker" {
        page.push_str(".SH ENVIRONMENT\n");
        for (variable, meaning) in ENVIRONMENT {
            let _ = writeln!(page, ".TP\n.B {variable}\n{}", escaped(meaning));
        }
    }
    if let Some((parent, _)) = name.rsplit_once('-') {
        let _ = writeln!(page, ".SH SEE ALSO\n.BR {} (1)", escaped(parent));
    }
    page
}

fn options(page: &mut String, mut flags: Vec<&Flag>) {
    flags.retain(|flag| !flag.hidden);
    if flags.is_empty() {
        return;
    }
    flags.sort_by_key(|flag| flag.long);
    page.push_str(".SH OPTIONS\n");
    for flag in flags {
        page.push_str(".TP\n");
        if let Some(short) = flag.short {
            let _ = write!(page, "\\fB\\-{short}\\fR, ");
        }
        let _ = write!(page, "\\fB\\-\\-{}\\fR", escaped(flag.long));
        if !flag.value_name().is_empty() {
            let _ = write!(page, "=\\fI{}\\fR", escaped(flag.value_name()));
        }
        // A default below the user's own folder is nobody else's.
        let is_own = flag.default.starts_with('/');
        let default = if is_own { String::new() } else { help::shown_default(flag) };
        let _ = writeln!(page, "\n{}", escaped(&format!("{}{default}", flag.usage)));
    }
}

fn commands(page: &mut String, path: &Path) {
    let mut children = help::listed(path.command).peekable();
    if children.peek().is_none() {
        return;
    }
    page.push_str(".SH COMMANDS\n");
    for child in children {
        let name = format!("{}-{}", path.words.replace(' ', "-"), child.name);
        let _ = writeln!(page, ".TP\n.BR {} (1)\n{}", escaped(&name), escaped(child.about));
    }
}

/// What man(7) would interpret stands for itself; line breaks stay.
fn escaped(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-");
    let lines = escaped.lines().map(|line| {
        let starts = line.starts_with(['.', '\'']);
        if starts { format!("\\&{line}") } else { line.to_owned() }
    });
    lines.collect::<Vec<_>>().join("\n.br\n").replace("\n.br\n\n.br\n", "\n.sp\n")
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text).replace('"', "\\(dq"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_that_is_listed_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path()).unwrap();
        let run = fs::read_to_string(folder.path().join("docker-run.1")).unwrap();
        assert!(run.starts_with(".TH \"DOCKER\\-RUN\" 1 "), "{run}");
        assert!(run.contains(".SH NAME\ndocker\\-run \\- Create and run a new container from an image\n"));
        assert!(run.contains(".TP\n\\fB\\-e\\fR, \\fB\\-\\-env\\fR=\\fIlist\\fR\nSet environment variables\n"));
        assert!(run.contains(".SH SEE ALSO\n.BR docker (1)\n"));
        let noun = fs::read_to_string(folder.path().join("docker-container.1")).unwrap();
        assert!(noun.contains(".BR docker\\-container\\-ls (1)\nList containers\n"));
        assert!(fs::read_to_string(folder.path().join("docker.1")).unwrap().contains(".B DOCKER_HOST\n"));
        assert!(!folder.path().join("docker-generate-manual.1").exists());
    }

    #[test]
    fn text_stands_for_itself() {
        assert_eq!(escaped("a\\b-c\n.d\n\ne"), "a\\eb\\-c\n.br\n\\&.d\n.sp\ne");
    }
}
