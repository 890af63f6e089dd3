//! What the runtime is asked to do, and runc's words for it.

use std::ffi::OsString;
use std::path::PathBuf;

/// One operation on the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    Create {
        bundle: PathBuf,
        pid_file: PathBuf,
        /// The socket that the terminal is sent to.
        console: Option<PathBuf>,
        no_pivot_root: bool,
        no_new_keyring: bool,
    },
    Start,
    Exec {
        /// A file with the process in the runtime spec's JSON.
        process: PathBuf,
        pid_file: PathBuf,
        console: Option<PathBuf>,
    },
    Delete {
        force: bool,
    },
    Kill {
        all: bool,
        signal: i32,
    },
    Pause,
    Resume,
    Update {
        /// A file with resources in the runtime spec's JSON.
        resources: PathBuf,
    },
    Processes,
}

impl Work {
    /// `SUBCOMMAND --flags… ID OPERANDS…`
    pub fn words(&self, id: &str) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        let mut say = |word: &str| words.push(word.into());
        match self {
            Self::Create { .. } => say("create"),
            Self::Start => say("start"),
            Self::Exec { .. } => say("exec"),
            Self::Delete { .. } => say("delete"),
            Self::Kill { .. } => say("kill"),
            Self::Pause => say("pause"),
            Self::Resume => say("resume"),
            Self::Update { .. } => say("update"),
            Self::Processes => say("ps"),
        }
        match self {
            Self::Create { bundle, pid_file, console, no_pivot_root, no_new_keyring } => {
                words.extend(["--bundle".into(), bundle.into(), "--pid-file".into(), pid_file.into()]);
                words.extend(no_pivot_root.then(|| "--no-pivot".into()));
                words.extend(no_new_keyring.then(|| "--no-new-keyring".into()));
                words.extend(console.iter().flat_map(|path| ["--console-socket".into(), path.into()]));
            }
            Self::Exec { process, pid_file, console } => {
                words.extend(["--process".into(), process.into(), "--detach".into()]);
                words.extend(["--pid-file".into(), pid_file.into()]);
                words.extend(console.iter().flat_map(|path| ["--console-socket".into(), path.into()]));
            }
            Self::Delete { force: true } => words.push("--force".into()),
            Self::Kill { all: true, .. } => words.push("--all".into()),
            Self::Update { resources } => words.extend(["--resources".into(), resources.into()]),
            Self::Processes => words.extend(["--format".into(), "json".into()]),
            _ => {}
        }
        words.push(id.into());
        if let Self::Kill { signal, .. } = self {
            words.push(signal.to_string().into());
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(work: &Work) -> String {
        let words: Vec<_> = work.words("id").into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
        words.join(" ")
    }

    #[test]
    fn every_work_has_runcs_words() {
        let create = Work::Create {
            bundle: "/b".into(),
            pid_file: "/b/init.pid".into(),
            console: Some("/s".into()),
            no_pivot_root: true,
            no_new_keyring: false,
        };
        assert_eq!(line(&create), "create --bundle /b --pid-file /b/init.pid --no-pivot --console-socket /s id");
        let exec = Work::Exec { process: "/p".into(), pid_file: "/q".into(), console: None };
        assert_eq!(line(&exec), "exec --process /p --detach --pid-file /q id");
        assert_eq!(line(&Work::Delete { force: true }), "delete --force id");
        assert_eq!(line(&Work::Delete { force: false }), "delete id");
        assert_eq!(line(&Work::Kill { all: true, signal: 9 }), "kill --all id 9");
        assert_eq!(line(&Work::Update { resources: "/r".into() }), "update --resources /r id");
        assert_eq!(line(&Work::Processes), "ps --format json id");
        assert_eq!(
            [Work::Start, Work::Pause, Work::Resume].map(|work| line(&work)),
            ["start id", "pause id", "resume id"]
        );
    }
}
