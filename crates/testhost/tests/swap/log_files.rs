//! Log files on disk: what either engine keeps, the other reads.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use testhost::{Docker, Host};

use crate::dockerd::Dockerd;

/// Many lines, one that is cut in parts, one without an end.
const PRINT: &str = "seq 1 20000; head -c 40000 /dev/zero | tr '\\0' x; echo; printf unfinished";
/// Docker before 23 forgets, reading the format local, that the last part of a line ends it.
const PRINT_SHORT: &str = "seq 1 20000; echo xxx; printf unfinished";

pub fn exchanged(host: &Host) -> Result<()> {
    let ours = host.engine("ours")?;
    let theirs = Dockerd::start(host, &[])?;
    let image = ours.import_busybox(theirs.import()?)?;
    let roots = [ours.data_root(), theirs.data_root()];
    let engines = [&ours.docker, &theirs.docker];
    for driver in ["json-file", "local"] {
        let folders = [0, 1].map(|side| keep(engines[side], &roots[side], &image, driver));
        let [our_folder, their_folder] = folders;
        let (our_folder, their_folder) = (our_folder?, their_folder?);
        let wanted = engines[0].run(&["logs", "kept"])?;
        ensure!(wanted.starts_with("1\n2\n") && wanted.ends_with("xxx\nunfinished"), "{driver}: ours");
        ensure!(engines[1].run(&["logs", "kept"])? == wanted, "{driver}: what the two keep differs");
        // The files change places; each reads what the other has written.
        let aside = host.path("aside");
        std::fs::create_dir_all(&aside)?;
        for (from, to) in [(&our_folder, &aside), (&their_folder, &our_folder), (&aside, &their_folder)] {
            move_logs(from, to)?;
        }
        for (docker, name) in engines.into_iter().zip(["ours", "theirs"]) {
            ensure!(docker.run(&["logs", "kept"])? == wanted, "{driver}: {name} reads the other's log otherwise");
            let tail = docker.run(&["logs", "--tail", "15000", "kept"])?;
            ensure!(wanted.ends_with(&tail) && tail.len() > 80_000, "{driver}: {name} finds another tail");
            docker.run(&["rm", "kept"])?;
        }
    }
    Ok(())
}

/// Runs the container; the folder of its log files, which are several and compressed.
fn keep(docker: &Docker, root: &Path, image: &str, driver: &str) -> Result<PathBuf> {
    let options = ["--log-opt", "max-size=100k", "--log-opt", "max-file=50", "--log-opt", "compress=true"];
    let script = if driver == "local" { PRINT_SHORT } else { PRINT };
    let run = [&["run", "--name", "kept", "--log-driver", driver], &options[..], &[image, "sh", "-c", script]];
    docker.run(&run.concat())?;
    let id = docker.run(&["inspect", "--format", "{{.Id}}", "kept"])?;
    let folder = root.join("containers").join(id);
    Ok(if driver == "local" { folder.join("local-logs") } else { folder })
}

/// Moves the files of a log. Those of json-file have their container's id in their names, which is the folder's.
fn move_logs(from: &Path, to: &Path) -> Result<()> {
    let id = to.file_name().and_then(|name| name.to_str()).context("a folder's name")?;
    for entry in std::fs::read_dir(from)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let new_name = match name.split_once("-json.log") {
            Some((_, end)) => format!("{id}-json.log{end}"),
            None if name.starts_with("container.log") => name,
            None => continue,
        };
        // The two engines' roots are file systems of their own.
        std::fs::copy(entry.path(), to.join(new_name))?;
        std::fs::remove_file(entry.path())?;
    }
    Ok(())
}
