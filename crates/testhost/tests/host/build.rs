//! `docker build`: the book's chapter 8, what a Dockerfile can say, what is found again, and what goes wrong.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use testhost::{Docker, Engine, Host};

/// A context of its own for each build.
pub fn context(host: &Host, name: &str, files: &[(&str, &str)]) -> Result<PathBuf> {
    let folder = host.path(name);
    for (path, text) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
        fs::write(path, text)?;
    }
    Ok(folder)
}

pub fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Ids differ each time: twelve digits become `ID`.
fn masked(text: &str) -> String {
    let word = |word: &str| {
        let is_id = word.len() == 12 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_id { "ID".to_owned() } else { word.to_owned() }
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    text.lines().map(|text| line(text.trim_end_matches('\r'))).collect::<Vec<_>>().join("\n")
}

/// The classic builder of Docker's client, and ours.
fn builders<'a>(engine: &'a Engine<'_>) -> [(&'static str, Docker); 2] {
    [("docker's client", engine.docker_of_docker()), ("ours", engine.docker.clone())]
}

const PSWEB: &str = "FROM busybox
LABEL maintainer=\"nigelpoulton@hotmail.com\"
RUN mkdir /modules && echo nodejs > /modules/nodejs
COPY . /src
WORKDIR /src
RUN cat /modules/nodejs ./app.js
EXPOSE 8080
ENTRYPOINT [\"cat\", \"./app.js\"]
";

/// The steps as *Docker Deep Dive* shows them, and once more from the cache.
pub fn book(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let folder = context(host, "psweb", &[("Dockerfile", PSWEB), ("app.js", "the app\n"), ("views/x", "x")])?;
    for (name, docker) in builders(&engine) {
        let tag = format!("web-{}:latest", name.len());
        let built = docker.run(&["image", "build", "-t", &tag, &shown(&folder)])?;
        let lines = masked(&built);
        for line in [
            "Step 1/8 : FROM busybox",
            "Step 3/8 : RUN mkdir /modules && echo nodejs > /modules/nodejs",
            "Step 8/8 : ENTRYPOINT [\"cat\", \"./app.js\"]",
            " ---> ID",
            "Successfully built ID",
        ] {
            ensure!(lines.lines().any(|other| other == line), "{name}: {line:?} is not in\n{built}");
        }
        ensure!(lines.starts_with("Sending build context to Docker daemon"), "{name}: {built}");
        ensure!(lines.ends_with(&format!("Successfully tagged {tag}")), "{name}: {built}");
        assert_eq!(docker.run(&["run", "--rm", &tag])?, "the app");
        let again = masked(&docker.run(&["image", "build", "-t", &tag, &shown(&folder)])?);
        assert_eq!(again.matches(" ---> Using cache").count(), 7, "{again}");
        assert!(!again.contains("Running in"), "{again}");
        let history = docker.run(&["history", "--format", "{{.CreatedBy}}", "--no-trunc", &tag])?;
        let first: Vec<&str> = history.lines().take(3).collect();
        assert_eq!(
            first,
            [
                "/bin/sh -c #(nop)  ENTRYPOINT [\"cat\" \"./app.js\"]",
                "/bin/sh -c #(nop)  EXPOSE 8080",
                "/bin/sh -c cat /modules/nodejs ./app.js"
            ]
        );
    }
    let ids = engine.docker.run(&["images", "--format", "{{.Repository}} {{.ID}}"])?;
    let of = |name: &str| ids.lines().find(|line| line.starts_with(name)).and_then(|line| line.split(' ').nth(1));
    assert_eq!(of("web-15"), of("web-4"), "both clients' builds are one image:\n{ids}");
    Ok(())
}

/// Only what the last stage takes is in the image; the stages between have no name.
pub fn stages(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let file = "FROM busybox AS storefront\nWORKDIR /usr/src\nRUN dd if=/dev/zero of=big bs=1000 count=500 && echo page > index\n\
                FROM busybox AS unused\nRUN false\n\
                FROM busybox AS production\nWORKDIR /static\nCOPY --from=storefront /usr/src/index .\nCMD [\"cat\", \"index\"]\n";
    let folder = context(host, "multi", &[("Dockerfile", file)])?;
    let docker = engine.docker_of_docker();
    let built = docker.run(&["build", "-t", "multi:stage", &shown(&folder)])?;
    assert!(built.contains("Step 7/7 : CMD [\"cat\", \"index\"]"), "{built}");
    assert_eq!(docker.run(&["run", "--rm", "multi:stage"])?, "page");
    let listed = docker.run(&["images", "--format", "{{.Repository}}:{{.Tag}}"])?;
    assert_eq!(listed.lines().filter(|line| *line == "<none>:<none>").count(), 1, "{listed}");
    let size =
        |name: &str| -> Result<u64> { Ok(docker.run(&["inspect", "--format", "{{.Size}}", name])?.trim().parse()?) };
    assert!(size("multi:stage")? < size("busybox")? + 100_000, "nothing of the first stage is in it");
    let target = docker.run(&["build", "-q", "--target", "storefront", &shown(&folder)])?;
    assert_eq!(docker.run(&["run", "--rm", &target, "cat", "/usr/src/index"])?, "page");
    let missing = docker.try_run(&["build", "--target", "nobody", &shown(&folder)])?;
    assert!(missing.stderr.contains("failed to reach build target nobody in Dockerfile"), "{}", missing.stderr);
    Ok(())
}

/// Contexts on standard input, Dockerfiles of any name and place, ignore rules.
pub fn contexts(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let file = "FROM busybox\nCOPY . /all\nCMD [\"find\", \"/all\", \"-type\", \"f\"]\n";
    let files = [
        ("Dockerfile", file),
        (".dockerignore", "*.log\nbuild\n!build/keep\nDockerfile\n.dockerignore\n"),
        ("a", "a"),
        ("x.log", "x"),
        ("build/drop", "x"),
        ("build/keep", "x"),
    ];
    let folder = context(host, "ignored", &files)?;
    let outside = context(host, "outside", &[("My.Dockerfile", file)])?;
    for (name, docker) in builders(&engine) {
        let found = |image: &str| -> Result<Vec<String>> {
            let mut found: Vec<String> = docker.run(&["run", "--rm", image])?.lines().map(str::to_owned).collect();
            found.sort();
            Ok(found)
        };
        let image = docker.run(&["build", "-q", &shown(&folder)])?;
        assert_eq!(found(&image)?, ["/all/a", "/all/build/keep"], "{name}");
        let elsewhere = shown(&outside.join("My.Dockerfile"));
        let image = docker.run(&["build", "-q", "-f", &elsewhere, &shown(&folder)])?;
        assert_eq!(found(&image)?, ["/all/a", "/all/build/keep"], "{name}: a file from elsewhere is not copied");
        let image = docker.run_with(&["build", "-q", "-f", "-", &shown(&folder)], file.as_bytes())?;
        assert_eq!(found(&image)?.len(), 2, "{name}");
        let image = docker
            .run_with(&["build", "-q", "-"], b"FROM busybox\nRUN echo lonely > /file\nCMD [\"cat\", \"/file\"]\n")?;
        assert_eq!(docker.run(&["run", "--rm", &image])?, "lonely", "{name}");
        let archive = host.command("tar", &["-C", &shown(&folder), "-czf", &shown(&host.path("c.tgz")), "."]);
        archive?;
        let image = docker.run_with(&["build", "-q", "-"], &fs::read(host.path("c.tgz"))?)?;
        assert_eq!(found(&image)?.len(), 4, "{name}: what is in an archive is taken");
        let id_file = host.path(&format!("iid-{}", name.len()));
        let quiet = docker.run(&["build", "-q", "--iidfile", &shown(&id_file), &shown(&folder)])?;
        assert_eq!(fs::read_to_string(&id_file)?.trim_end(), quiet, "{name}");
    }
    Ok(())
}

/// Links, archives, owners, modes: where COPY and ADD put things, and where they never get.
pub fn copies(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let file = "FROM busybox
RUN mkdir /real && ln -s real /link && ln -s ../../../../etc /real/out
COPY a /link/
COPY a /real/out/made
COPY --chown=7:8 --chmod=640 dir /owned/
COPY --parents dir/sub/y /kept/
COPY --exclude=*.txt dir /some/
ADD t.tar.gz /unpacked
COPY <<one <<\"two\" /inline/
[$NOTHING] is expanded
one
[$NOTHING] is not
two
RUN <<EOF
echo first
stat -c '%u:%g %a %n' /owned/x.txt
EOF
CMD find /real/a /etc/made /kept /some /unpacked /inline -type f | sort
";
    let folder = context(host, "copies", &[("Dockerfile", file), ("a", "a"), ("dir/x.txt", "x"), ("dir/sub/y", "y")])?;
    std::os::unix::fs::symlink("/etc/passwd", folder.join("escape"))?;
    host.command("tar", &["-C", &shown(&folder), "-czf", &shown(&folder.join("t.tar.gz")), "dir"])?;
    let docker = &engine.docker;
    let built = docker.run(&["build", "-t", "copies", &shown(&folder)])?;
    assert!(built.contains("first\n7:8 640 /owned/x.txt\n"), "{built}");
    assert_eq!(
        docker.run(&["run", "--rm", "copies"])?,
        "/etc/made\n/inline/one\n/inline/two\n/kept/dir/sub/y\n/real/a\n/some/sub/y\n/unpacked/dir/sub/y\n/unpacked/dir/x.txt"
    );
    let inline = docker.run(&["run", "--rm", "copies", "cat", "/inline/one", "/inline/two"])?;
    assert_eq!(inline, "[] is expanded\n[$NOTHING] is not");
    for (text, words) in [
        (
            "FROM busybox\nCOPY escape /x\n",
            "COPY failed: file not found in build context or excluded by .dockerignore: stat escape: file does not exist",
        ),
        ("FROM busybox\nCOPY ../a /x\n", "COPY failed: forbidden path outside the build context: ../a ()"),
        (
            "FROM busybox\nCOPY a dir /x\n",
            "When using COPY with more than one source file, the destination must be a directory and end with a /",
        ),
        ("FROM busybox\nCOPY --from=busybox /nope /x\n", "COPY failed: stat nope: file does not exist"),
    ] {
        let refused = docker.try_run_with(&["build", "-f", "-", &shown(&folder)], text.as_bytes())?;
        assert_eq!(refused.code, 1);
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }
    Ok(())
}

/// What runs in a step: arguments, mounts, networks, users; and what of it stays.
pub fn runs(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let file = "ARG TAG=latest
FROM busybox:$TAG
ARG WHO=nobody
ENV GREETING=\"hello ${WHO}\"
RUN echo $GREETING > /greeting
RUN --mount=type=cache,target=/cache echo run >> /cache/count; wc -l < /cache/count > /count
RUN --mount=type=tmpfs,target=/tmp/t --mount=target=/ctx cp /ctx/a /tmp/t/ && cat /tmp/t/a > /from-context
RUN --mount=type=secret,id=key cat /run/secrets/key | wc -c > /secret-length
RUN --network=none ls /sys/class/net > /net
VOLUME /data
RUN echo lost > /data/file
CMD [\"sh\", \"-c\", \"cat /greeting /count /from-context /secret-length /net; ls /data /cache /ctx /run/secrets 2>&1\"]
";
    let folder = context(host, "runs", &[("Dockerfile", file), ("a", "of the context\n")])?;
    fs::write(host.path("key"), "hush")?;
    let secret = format!("id=key,src={}", shown(&host.path("key")));
    let docker = &engine.docker;
    docker.run(&["build", "-t", "runs", "--build-arg", "WHO=world", "--secret", &secret, &shown(&folder)])?;
    let out = docker.run(&["run", "--rm", "runs"]).map_err(|error| error.to_string()).unwrap_or_else(|error| error);
    assert!(out.contains("hello world\n1\nof the context\n4\nlo"), "{out}");
    for place in ["/cache", "/ctx", "/run/secrets"] {
        assert!(out.contains(&format!("{place}: No such file or directory")), "{out}");
    }
    assert!(!out.contains("file\n"), "what a step writes into a volume goes with its container: {out}");
    let history = docker.run(&["history", "--no-trunc", "runs"])?;
    assert!(!history.contains("hush"), "{history}");
    let left = fs::read_dir(engine.exec_root().join("build-secrets"))?.count();
    assert_eq!(left, 0, "the secrets of a step go with it");
    docker.run(&["build", "--no-cache", "-t", "runs", "--secret", &secret, &shown(&folder)])?;
    assert_eq!(docker.run(&["run", "--rm", "runs", "cat", "/count"])?, "2", "a cache outlives its build");
    let insecure = docker.try_run_with(&["build", "-"], b"FROM busybox\nRUN --security=insecure true\n")?;
    assert!(insecure.stderr.contains("security.insecure is not allowed"), "{}", insecure.stderr);
    assert_eq!(docker.run(&["ps", "-aq"])?, "", "no container of a step is left");
    Ok(())
}

/// Triggers, shells, probes: the instructions that only change a configuration.
pub fn configuration(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    let parent = "FROM busybox\nONBUILD RUN echo triggered > /t\nONBUILD ENV T=1\nSHELL [\"/bin/sh\", \"-ec\"]\n\
                  HEALTHCHECK --interval=5s --retries=2 CMD true\nSTOPSIGNAL SIGINT\nUSER 7\nWORKDIR /a\nWORKDIR b\nUSER root\n";
    docker.run_with(&["build", "-t", "parent", "-"], parent.as_bytes())?;
    let built = docker.run_with(&["build", "-t", "child", "--label", "k=v w", "-"], b"FROM parent\nCMD cat /t\n")?;
    assert!(built.contains("# Executing 2 build triggers"), "{built}");
    assert!(built.contains("Step 3/3 : LABEL k=v w"), "{built}");
    assert_eq!(docker.run(&["run", "--rm", "child"])?, "triggered");
    let format = "{{json .Config}}";
    let config: serde_json::Value = serde_json::from_str(&docker.run(&["inspect", "--format", format, "child"])?)?;
    assert_eq!(config["Shell"], serde_json::json!(["/bin/sh", "-ec"]));
    assert_eq!(config["Cmd"], serde_json::json!(["/bin/sh", "-ec", "cat /t"]));
    assert_eq!((config["WorkingDir"].as_str(), config["StopSignal"].as_str()), (Some("/a/b"), Some("SIGINT")));
    assert_eq!(config["Healthcheck"]["Interval"], 5_000_000_000_i64);
    assert_eq!(config["Labels"]["k"], "v w");
    assert!(config["OnBuild"].is_null(), "{config}");
    Ok(())
}

/// What goes wrong is told with Docker's words, and by our client with the lines it is about.
pub fn mistakes(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    for (name, docker) in builders(&engine) {
        let refused = |text: &str| docker.try_run_with(&["build", "--force-rm", "-"], text.as_bytes());
        for (text, words) in [
            ("FORM busybox\n", "dockerfile parse error on line 1: unknown instruction: FORM (did you mean FROM?)"),
            ("FROM busybox\n\nENV a\n", "dockerfile parse error on line 3: ENV must have two arguments"),
            ("FROM busybox\nCOPY --form=x a b\n", "unknown flag: --form (did you mean from?)"),
            (
                "# syntax=example.com/other:1\nFROM busybox\n",
                "the front end \"example.com/other:1\" of the syntax directive is not supported",
            ),
            ("FROM scratch\n", "No image was generated. Is your Dockerfile empty?"),
        ] {
            let ran = refused(text)?;
            assert_ne!(ran.code, 0, "{name}: {text}");
            assert!(ran.stderr.contains(words), "{name}: {text}: {}", ran.stderr);
        }
        let failed = refused("FROM busybox\nRUN echo said && exit 7\n")?;
        assert_eq!(failed.code, 7, "{name}: the program's own code");
        assert!(failed.stdout.contains("\nsaid\n"), "{name}: {}", failed.stdout);
        let words = "The command '/bin/sh -c echo said && exit 7' returned a non-zero code: 7";
        assert!(failed.stderr.contains(words), "{name}: {}", failed.stderr);
    }
    let docker = &engine.docker;
    let text = b"FROM busybox\n\nRUN true && \\\n  false\nCMD x\n";
    let shown = docker.try_run_with(&["build", "--force-rm", "-"], text)?.stderr;
    let excerpt = "Dockerfile:3\n--------------------\n   1 |     FROM busybox\n   2 |\n   3 | >>> RUN true && \\\n   \
                   4 | >>>   false\n   5 |     CMD x\n--------------------";
    let trimmed = |text: &str| text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    assert!(trimmed(&shown).contains(excerpt), "{shown}");
    let checked = docker.try_run_with(&["build", "--check", "-"], b"FROM busybox AS Big\nCMD x\n")?;
    assert_eq!(checked.code, 1);
    assert!(checked.stdout.starts_with("Check complete, 2 warnings have been found!"), "{}", checked.stdout);
    assert_eq!(docker.run(&["ps", "-aq"])?, "", "by force a failed step's container goes too");
    Ok(())
}

/// A key follows from contents: times do not matter, a byte does. The cache is counted and pruned.
pub fn cache(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let file = "FROM busybox\nCOPY one /one\nRUN cat /proc/sys/kernel/random/uuid > /made\nCOPY two /two\n";
    let folder = context(host, "cached", &[("Dockerfile", file), ("one", "1"), ("two", "2")])?;
    let docker = &engine.docker;
    let build = |words: &[&str]| -> Result<String> {
        let path = shown(&folder);
        let mut all = vec!["build", "-q"];
        all.extend(words);
        all.push(&path);
        docker.run(&all)
    };
    let made = |image: &str| docker.run(&["run", "--rm", image, "cat", "/made"]);
    let first = build(&[])?;
    assert_eq!(build(&[])?, first);
    fs::write(folder.join("one"), "1")?;
    assert_eq!(build(&[])?, first, "the same content at another time");
    fs::write(folder.join("two"), "other")?;
    let second = build(&[])?;
    assert_ne!(second, first);
    assert_eq!(made(&first)?, made(&second)?, "the RUN before it was found again");
    let third = build(&["--no-cache"])?;
    assert_ne!(made(&third)?, made(&second)?);
    engine.kill_dockerd()?;
    engine.start_again()?;
    assert_eq!(build(&[])?, third, "the cache outlives a daemon that is killed");
    let count = || docker.run(&["system", "df", "--format", "{{.Type}} {{.TotalCount}}"]);
    let rows = count()?;
    assert!(rows.lines().any(|row| row == "Build Cache 4"), "{rows}");
    let pruned = docker.run(&["builder", "prune", "-f"])?;
    assert!(pruned.contains("Total reclaimed space:"), "{pruned}");
    let rows = count()?;
    assert!(rows.lines().any(|row| row == "Build Cache 0"), "{rows}");
    assert_eq!(made(&first)?, made(&second)?, "images keep what they are made of");
    assert_ne!(build(&[])?, third);
    // One time for all makes one image of two builds.
    let text = b"FROM busybox\nWORKDIR /w\nCOPY . .\nRUN echo x > /x\nENV A=b\n";
    let path = shown(&folder);
    let words = ["build", "-q", "--no-cache", "--build-arg", "SOURCE_DATE_EPOCH=1700000000", "-f", "-", &path];
    assert_eq!(docker.run_with(&words, text)?, docker.run_with(&words, text)?);
    Ok(())
}

/// Stages that read nothing of each other run at the same time; what they tell comes in the file's order.
pub fn beside(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    // Each waits for the other to begin, over a cache that both see: one after the other they would wait for ever.
    let meet = |own: &str, other: &str| {
        format!(
            "RUN --mount=type=cache,target=/meet touch /meet/{own} && n=0; until [ -e /meet/{other} ]; do sleep 0.1; n=$((n+1)); \
             [ $n -lt 200 ] || exit 9; done; echo {own} > /{own}\n"
        )
    };
    let file = format!(
        "FROM busybox AS one\n{}FROM busybox AS two\n{}FROM busybox\nCOPY --from=one /left /\nCOPY --from=two /right /\nRUN cat /left /right\n",
        meet("left", "right"),
        meet("right", "left")
    );
    let built = docker.run_with(&["build", "-"], file.as_bytes())?;
    let steps: Vec<&str> = built.lines().filter_map(|line| line.strip_prefix("Step ")?.split('/').next()).collect();
    assert_eq!(steps, ["1", "2", "3", "4", "5", "6", "7", "8"], "{built}");
    assert!(built.contains("left\nright\n"), "{built}");
    // One that fails ends the other, and is the one that is told.
    let file = b"FROM busybox AS one\nRUN sleep 1000\nFROM busybox AS two\nRUN exit 5\nFROM busybox\nCOPY --from=one / /\nCOPY --from=two / /\n";
    let failed = docker.try_run_with(&["build", "--force-rm", "-"], file)?;
    assert_eq!(failed.code, 5, "{}", failed.stderr);
    assert_eq!(docker.run(&["ps", "-aq"])?, "");
    Ok(())
}

/// A client that goes away takes its build along.
pub fn cancelled(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let folder = context(host, "endless", &[("Dockerfile", "FROM busybox\nRUN sleep 1000\n")])?;
    for (name, docker) in builders(&engine) {
        let mut client = docker.command(&["build", &shown(&folder)]).stdout(std::process::Stdio::null()).spawn()?;
        let running = || engine.docker.run(&["ps", "-q"]).ok().filter(|ids| !ids.is_empty());
        testhost::wait_until(&format!("{name}: the step runs"), running)?;
        client.kill()?;
        client.wait()?;
        let gone = || engine.docker.run(&["ps", "-aq"]).ok().filter(String::is_empty);
        testhost::wait_until(&format!("{name}: nothing of it is left"), gone)?;
    }
    Ok(())
}

/// A daemon that is killed in the middle of a step has nothing of it left when it is back.
pub fn killed(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let folder = context(host, "killed", &[("Dockerfile", "FROM busybox\nRUN echo made > /made\nRUN sleep 1000\n")])?;
    let docker = &engine.docker;
    let mut client = docker.command(&["build", &shown(&folder)]).stdout(std::process::Stdio::null()).spawn()?;
    let sleeps = || docker.run(&["ps", "--format", "{{.Command}}"]).ok().filter(|shown| shown.contains("sleep"));
    testhost::wait_until("the second step runs", sleeps)?;
    engine.kill_dockerd()?;
    client.wait()?;
    engine.start_again()?;
    assert_eq!(docker.run(&["ps", "-aq"])?, "", "the step's container is gone");
    let again = docker.run_with(&["build", "-"], b"FROM busybox\nRUN echo made > /made\nCMD cat /made\n")?;
    assert!(again.contains("Using cache"), "what was done is known: {again}");
    Ok(())
}
