//! `run` of `true` in Docker's default bundle: docker-runc beside a bare program, crun and runc; and its peak of memory.
//! What its system calls are for stands in `bench/calls.md`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testhost::Host;

use super::{Row, quietly, take_turns};

const ROUNDS: usize = 60;
const PEAK_ROUNDS: usize = 10;
const PEAK_MB: f64 = 2.0;
/// Debian's crun refuses the hybrid layout: it gets a view of the machine without the unified hierarchy.
const HIDE_UNIFIED: &str = "umount /sys/fs/cgroup/unified 2>/dev/null; exec \"$@\"";

pub fn rows(host: &Host, workspace: &Path) -> Result<Vec<Row>> {
    let bundle = bundle(host)?;
    let floor = compile(host, workspace, "floor")?;
    let ours = host.programs().join("docker-runc");
    let root = host.path("runtime-root");
    let rootfs = bundle.join("rootfs");
    let mut number = 0;
    let mut next = || {
        number += 1;
        format!("bench-{number}")
    };
    let mut ids = [next(), next(), next()];
    let run = |program: &Path, id: &mut String| -> Result<()> {
        id.push('x');
        quietly(
            Command::new(program)
                .arg("--root")
                .arg(root.join(program.file_name().unwrap_or_default()))
                .args(["run", "--bundle"])
                .arg(&bundle)
                .arg(id.as_str()),
        )
    };
    let [our_id, runc_id, crun_id] = &mut ids;
    let mut run_floor = || quietly(Command::new(&floor).arg(&rootfs).arg("/bin/true"));
    let mut run_ours = || run(&ours, our_id);
    let mut run_runc = || run(Path::new("/usr/sbin/runc"), runc_id);
    let crun_root = root.join("crun");
    let mut run_crun = || {
        crun_id.push('x');
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", HIDE_UNIFIED, "sh", "crun", "--root"]).arg(&crun_root);
        quietly(command.args(["run", "--bundle"]).arg(&bundle).arg(crun_id.as_str()))
    };
    // What it costs to hide the hierarchy is not crun's: measured by itself and taken off.
    let mut run_view = || quietly(Command::new("unshare").args(["--mount", "sh", "-c", HIDE_UNIFIED, "sh", "true"]));
    let times = take_turns(
        ROUNDS,
        &mut [
            ("docker-runc", &mut run_ours),
            ("floor", &mut run_floor),
            ("crun", &mut run_crun),
            ("the view without unified", &mut run_view),
            ("runc", &mut run_runc),
        ],
    )?;
    let row = |against: &str, theirs: f64, target: f64| Row {
        name: "docker-runc run of true in Docker's default bundle".into(),
        ours: times[0],
        against: against.into(),
        theirs,
        unit: "ms",
        target: Some(target),
        more_is_better: false,
    };
    let mut rows =
        vec![row("bare program", times[1], 1.3), row("crun", times[2] - times[3], 0.65), row("runc", times[4], 0.2)];
    let peak = compile(host, workspace, "peak")?;
    let mut command = Command::new(&peak);
    command.arg(&ours).arg("--root").arg(root.join("peak")).args(["run", "--bundle"]).arg(&bundle).arg("bench-peak");
    rows.push(Row {
        name: "peak memory of docker-runc run, its children included".into(),
        ours: peak_mb(&mut command)?,
        against: "the budget".into(),
        theirs: PEAK_MB,
        unit: "MB",
        target: Some(1.0),
        more_is_better: false,
    });
    Ok(rows)
}

/// The highest of some runs.
fn peak_mb(command: &mut Command) -> Result<f64> {
    let mut highest = 0.0_f64;
    for _ in 0..PEAK_ROUNDS {
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{command:?}: {}\n{said}", output.status);
        let kib: f64 = said.trim().parse().with_context(|| format!("{command:?}: {said}"))?;
        highest = highest.max(kib * 1024.0 / 1e6);
    }
    Ok(highest)
}

/// A program of `bench/floor`.
fn compile(host: &Host, workspace: &Path, name: &str) -> Result<PathBuf> {
    let program = host.path(name);
    let source = workspace.join("bench/floor").join(name).with_extension("c");
    quietly(Command::new("gcc").args(["-O2", "-static", "-o"]).arg(&program).arg(source))?;
    Ok(program)
}

/// The bundle of a container that our own engine started, made to run `true` in namespaces of its own.
fn bundle(host: &Host) -> Result<PathBuf> {
    let engine = host.engine("bundle")?;
    let image = engine.import_busybox("busybox")?;
    let id = engine.docker.run(&["run", "-d", "--network", "none", &image, "sleep", "1000"])?;
    let config =
        engine.exec_root().join("containerd/daemon/io.containerd.runtime.v2.task/moby").join(&id).join("config.json");
    let mut spec: Value = serde_json::from_slice(&fs::read(&config).with_context(|| config.display().to_string())?)?;
    engine.docker.run(&["rm", "-f", &id])?;
    spec["process"]["args"] = json!(["true"]);
    spec["root"]["path"] = json!("rootfs");
    spec["linux"]["cgroupsPath"] = Value::Null;
    spec["hooks"] = Value::Null;
    if let Some(namespaces) = spec["linux"]["namespaces"].as_array_mut() {
        namespaces.iter_mut().filter(|n| n["type"] == "network").for_each(|n| *n = json!({ "type": "network" }));
    }
    // Files of the container that is gone.
    if let Some(mounts) = spec["mounts"].as_array_mut() {
        mounts.retain(|mount| mount["type"] != "bind");
    }
    // Debian's runc refuses a higher version than it knows.
    spec["ociVersion"] = json!("1.0.2");
    if let Some(object) = spec.as_object_mut() {
        object.retain(|_, value| !value.is_null());
    }
    if let Some(linux) = spec["linux"].as_object_mut() {
        linux.retain(|_, value| !value.is_null());
    }
    let bundle = host.path("bundle");
    let rootfs = bundle.join("rootfs");
    fs::create_dir_all(&rootfs)?;
    let archive = host.path("busybox.tar");
    fs::write(&archive, testhost::busybox_archive(host)?)?;
    quietly(Command::new("tar").arg("-C").arg(&rootfs).arg("-xf").arg(&archive))?;
    fs::write(bundle.join("config.json"), serde_json::to_vec_pretty(&spec)?)?;
    Ok(bundle)
}
