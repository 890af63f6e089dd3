//! Mistakes in Dockerfiles and contexts, as each client shows them: the place, the lines around it, what failed, what may have
//! been meant.

use anyhow::{Context, Result, ensure};
use testhost::{Docker, Host, Ran};

use crate::build::{context, shown};
use crate::build_sessions;

const OLD: &str = "client 20.10, BuildKit";

/// Clients, and how they speak: Docker's by the classic door, ours by both, Docker's of old by BuildKit's session.
fn clients(docker: &Docker, of_docker: Docker) -> Vec<(&'static str, Docker, &'static str)> {
    let old = Docker { program: build_sessions::CLIENT.into(), ..docker.clone() };
    vec![
        ("client 28, classic", of_docker, "0"),
        ("ours, classic", docker.clone(), "0"),
        ("ours, BuildKit", docker.clone(), "1"),
        (OLD, old, "1"),
    ]
}

fn build(docker: &Docker, door: &str, words: &[&str]) -> Result<Ran> {
    let mut command = docker.command(&["build"]);
    // By the classic door a failed step's container would stay.
    let forced = (door == "0").then_some("--force-rm");
    let output = command.args(forced).args(words).env("DOCKER_BUILDKIT", door).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().context("the client was killed")?;
    Ok(Ran { code, stdout: text(&output.stdout), stderr: text(&output.stderr) })
}

/// What failed, where, and the hint.
struct Mistake {
    file: &'static str,
    words: &'static [&'static str],
    line: Option<&'static str>,
    failure: &'static str,
    hint: &'static str,
}

const MISTAKES: [Mistake; 8] = [
    Mistake {
        file: "FROM busybox\nCOPY sub/secret.log /\n",
        words: &[],
        line: Some("   2 | >>> COPY sub/secret.log /"),
        failure: "file not found in build context or excluded by .dockerignore: stat sub/secret.log: file does not exist",
        hint: "hint: .dockerignore leaves it out by the rule \"**/*.log\" on line 2",
    },
    Mistake {
        file: "FROM busybox\nCOPY packge.json /\n",
        words: &[],
        line: Some("   2 | >>> COPY packge.json /"),
        failure: "stat packge.json: file does not exist",
        hint: "hint: did you mean package.json?",
    },
    Mistake {
        file: "FROM busybox\nCOPY /etc/hostname /\n",
        words: &[],
        line: Some("   2 | >>> COPY /etc/hostname /"),
        failure: "stat etc/hostname: file does not exist",
        hint: "hint: sources are looked for in the build context, not on the machine that builds",
    },
    Mistake {
        file: "FROM busybox AS builder\nFROM busybox\nCOPY --from=bulider /bin/sh /x\n",
        words: &[],
        line: Some("   3 | >>> COPY --from=bulider /bin/sh /x"),
        failure: "",
        hint: "hint: did you mean the stage builder?",
    },
    Mistake {
        file: "FROM busybox AS builder\nARG V=1\nFROM busybox:$V\n",
        words: &[],
        line: Some("   3 | >>> FROM busybox:$V"),
        failure: "invalid reference format",
        hint: "hint: FROM argument 'V' is not declared: ARG V on line 2 belongs to its stage; FROM knows what ARG declares \
               before the first FROM",
    },
    Mistake {
        file: "FROM busybox AS builder\nRUN echo hi; nonsense\n",
        words: &[],
        line: Some("   2 | >>> RUN echo hi; nonsense"),
        failure: "127",
        hint: "hint: 127: the shell found no such program in the image",
    },
    Mistake {
        file: "FROM busybox AS builder\n",
        words: &["--target", "bilder"],
        line: None,
        failure: "failed to reach build target bilder in Dockerfile",
        hint: "hint: did you mean builder?",
    },
    Mistake {
        file: "FROM busybox as a as b\n",
        words: &[],
        line: None,
        failure: "dockerfile parse error on line 1: FROM requires either one or three arguments",
        hint: "hint: FROM image, or FROM image AS name",
    },
];

/// Every mistake ends with its hint; one of a step is shown among its lines.
pub fn hints(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    for (number, mistake) in MISTAKES.iter().enumerate() {
        let files = [("Dockerfile", mistake.file), ("package.json", "{}"), (".dockerignore", "# kept\n**/*.log\n")];
        let folder = shown(&context(host, &format!("m{number}"), &files)?);
        for (name, docker, door) in clients(&engine.docker, engine.docker_of_docker()) {
            let words: Vec<&str> = mistake.words.iter().copied().chain([folder.as_str()]).collect();
            let ran = build(&docker, door, &words)?;
            let told = format!("{}{}", ran.stdout, ran.stderr);
            ensure!(ran.code != 0 && told.contains(mistake.failure), "{name}: {}\n{told}", mistake.failure);
            let last = ran.stderr.lines().rfind(|line| !line.trim().is_empty());
            ensure!(last == Some(mistake.hint), "{name}: {:?} is not the last line of\n{told}", mistake.hint);
            // Docker's old client asks by HTTP, whose errors have no place.
            if let Some(line) = mistake.line.filter(|_| name != OLD) {
                let count = told.lines().filter(|other| *other == line).count();
                ensure!(count == 1, "{name}: {line:?} is {count} times in\n{told}");
            }
        }
    }
    Ok(())
}

/// A quiet build that fails shows what led there; one that goes well shows its id alone.
pub fn quiet(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let wrong = shown(&context(host, "wrong", &[("Dockerfile", "FROM busybox\nRUN echo before; exit 3\n")])?);
    let right = shown(&context(host, "right", &[("Dockerfile", "FROM busybox\nRUN echo before\n")])?);
    for (name, docker, door) in clients(&engine.docker, engine.docker_of_docker()) {
        let ran = build(&docker, door, &["-q", &right])?;
        ensure!(ran.code == 0 && ran.stdout.trim().starts_with("sha256:"), "{name}: {ran:?}");
        ensure!(ran.stdout.trim().lines().count() == 1, "{name}: {ran:?}");
        if name == OLD {
            // Shows nothing of a quiet build but its failure.
            continue;
        }
        let ran = build(&docker, door, &["-q", &wrong])?;
        let told = format!("{}{}", ran.stdout, ran.stderr);
        ensure!(ran.code != 0, "{name}: {told}");
        ensure!(told.lines().any(|line| line.ends_with("before") && !line.contains("RUN")), "{name}: {told}");
    }
    Ok(())
}

/// An empty Dockerfile, and those that have nothing but lines, in the words of Docker's parser.
pub fn nothing(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    for (number, (file, words)) in [
        ("", "the Dockerfile (Dockerfile) cannot be empty"),
        ("\n\n \n", "file with no instructions"),
        ("# nothing\n#at all\n", "file with no instructions"),
    ]
    .into_iter()
    .enumerate()
    {
        let folder = shown(&context(host, &format!("n{number}"), &[("Dockerfile", file)])?);
        for (name, docker, door) in clients(&engine.docker, engine.docker_of_docker()) {
            let ran = build(&docker, door, &[&folder])?;
            ensure!(ran.code != 0 && ran.stderr.contains(words), "{name}: {file:?}: {ran:?}");
        }
    }
    Ok(())
}
