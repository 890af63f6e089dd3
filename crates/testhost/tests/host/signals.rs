//! Signals that `docker run` gets are the container's.

use anyhow::Result;
use rustix::process::Signal;
use testhost::{Docker, Host, wait_until};

use crate::clients;

pub fn passed_on(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    for docker in clients(&engine) {
        for terminal in [&[][..], &["-t"]] {
            let words = [&["run", "--init", "--rm", "--name", "told"], terminal, &[&image, "sleep", "1000"]].concat();
            let run = docker.start(&words)?;
            wait_until("a running container", || state(&docker).filter(|state| state == "running"))?;
            run.signal(Signal::TERM)?;
            assert_eq!(run.wait()?.code, 143, "{terminal:?}");
        }
    }
    Ok(())
}

fn state(docker: &Docker) -> Option<String> {
    docker.run(&["inspect", "-f", "{{.State.Status}}", "told"]).ok()
}
