//! What people do with containers, through any Docker client on any Docker Engine. The same steps for every pair.

use anyhow::{Result, ensure};
use testhost::{Docker, Ran, Terminal, wait_until};

/// A pair of client and engine, and how containers are started there.
pub struct Life<'a> {
    pub docker: &'a Docker,
    pub image: &'a str,
    /// Options of every `docker run`: the runtime, for one.
    pub flags: &'a [&'a str],
}

impl Life<'_> {
    pub fn live(&self) -> Result<()> {
        self.foreground()?;
        self.mistakes()?;
        self.properties()?;
        self.terminal()?;
        self.background()?;
        self.looked_after()?;
        self.stopped_by_force()
    }

    fn run<'a>(&'a self, options: &[&'a str], rest: &[&'a str]) -> Vec<&'a str> {
        [&["run"], options, self.flags, &[self.image], rest].concat()
    }

    /// Runs to the end and is removed; its standard output.
    pub fn output(&self, options: &[&str], rest: &[&str]) -> Result<String> {
        let options = [&["--rm"], options].concat();
        self.docker.run(&self.run(&options, rest))
    }

    fn foreground(&self) -> Result<()> {
        let ran = self.docker.try_run(&self.run(&["--rm"], &["sh", "-c", "echo out; echo err >&2; exit 7"]))?;
        ensure!(ran == Ran { code: 7, stdout: "out\n".into(), stderr: "err\n".into() }, "{ran:?}");
        let counted = self.docker.run_with(&self.run(&["--rm", "-i"], &["wc", "-c"]), &vec![b'x'; 1 << 20])?;
        ensure!(counted.trim() == "1048576", "{counted}");
        Ok(())
    }

    fn mistakes(&self) -> Result<()> {
        let ran = self.docker.try_run(&self.run(&["--rm"], &["no-such-program"]))?;
        ensure!(ran.code == 127 && ran.stderr.contains("executable file not found in $PATH"), "{ran:?}");
        let ran = self.docker.try_run(&self.run(&["--rm"], &["/etc/passwd"]))?;
        ensure!(ran.code == 126 && ran.stderr.contains("permission denied"), "{ran:?}");
        Ok(())
    }

    fn properties(&self) -> Result<()> {
        ensure!(self.output(&["--user", "1000:1001"], &["sh", "-c", "id -u; id -g"])? == "1000\n1001");
        let limit = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null";
        ensure!(self.output(&["--memory", "64m"], &["sh", "-c", &format!("{limit} || true")])? == "67108864");
        let limit = "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null";
        ensure!(self.output(&["--pids-limit", "33"], &["sh", "-c", &format!("{limit} || true")])? == "33");
        let refused = self.output(&["--read-only"], &["sh", "-c", "touch /file 2>&1 || true"])?;
        ensure!(refused.contains("Read-only file system"), "{refused}");
        let capabilities = self.output(&["--cap-drop", "ALL", "--cap-add", "CHOWN"], &["cat", "/proc/self/status"])?;
        ensure!(capabilities.contains("CapEff:\t0000000000000001"), "{capabilities}");
        let mounted = self.output(&["--tmpfs", "/scratch:size=1m"], &["grep", " /scratch ", "/proc/mounts"])?;
        ensure!(mounted.starts_with("tmpfs ") && mounted.contains("size=1024k"), "{mounted}");
        ensure!(self.output(&["--hostname", "ship", "-e", "A=b"], &["sh", "-c", "hostname; echo $A"])? == "ship\nb");
        ensure!(self.output(&["--workdir", "/made/here"], &["pwd"])? == "/made/here");
        ensure!(self.output(&["--network", "none"], &["ls", "/sys/class/net"])? == "lo");
        let address = self.output(&[], &["ip", "-4", "address", "show", "dev", "eth0"])?;
        ensure!(address.contains("inet 172."), "{address}");
        Ok(())
    }

    fn terminal(&self) -> Result<()> {
        let mut terminal = Terminal::start(&self.docker.command(&self.run(&["--rm", "-it"], &["sh"])))?;
        terminal.type_keys("until stty size | grep '24 80'; do sleep 0.01; done; test -t 1 && echo ter'minal'\n")?;
        terminal.expect("terminal\r\n")?;
        terminal.type_keys("exit 5\n")?;
        ensure!(terminal.wait()? == 5);
        Ok(())
    }

    fn background(&self) -> Result<()> {
        let docker = self.docker;
        let mut events = docker.start(&["events", "--filter", "container=long", "--format", "{{.Action}}"])?;
        let script = "trap 'echo trapped; exit 9' TERM; echo ready; while :; do sleep 0.01; done";
        let id = docker.run(&self.run(&["-d", "--name", "long"], &["sh", "-c", script]))?;
        ensure!(id.len() == 64, "{id}");
        let logged = |text: &str| docker.run(&["logs", "long"]).ok().filter(|log| log == text);
        wait_until("the first line", || logged("ready"))?;
        let listed = docker.run(&["ps", "--no-trunc", "--format", "{{.ID}} {{.Names}} {{.Image}}"])?;
        ensure!(listed == format!("{id} long {}", self.image), "{listed}");
        let added = docker.try_run(&["exec", "-e", "A=b", "long", "sh", "-c", "echo $A; echo err >&2; exit 3"])?;
        ensure!(added == Ran { code: 3, stdout: "b\n".into(), stderr: "err\n".into() }, "{added:?}");
        ensure!(docker.run(&["exec", "--user", "1000", "long", "id", "-u"])? == "1000");
        ensure!(docker.run_with(&["exec", "-i", "long", "cat"], b"through")? == "through");
        let missing = docker.try_run(&["exec", "long", "no-such-program"])?;
        // Debian's client prints what the daemon says; newer ones print it too.
        ensure!([126, 127].contains(&missing.code), "{missing:?}");
        let top = docker.run(&["top", "long"])?;
        ensure!(top.contains("sleep 0.01") || top.contains("trap"), "{top}");
        docker.run(&["pause", "long"])?;
        ensure!(docker.run(&["inspect", "--format", "{{.State.Status}}", "long"])? == "paused");
        docker.run(&["unpause", "long"])?;
        ensure!(docker.run(&["stop", "long"])? == "long");
        let state = docker.run(&["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "long"])?;
        ensure!(state == "exited 9", "{state}");
        ensure!(logged("ready\ntrapped").is_some(), "{:?}", docker.run(&["logs", "long"]));
        docker.run(&["start", "long"])?;
        wait_until("the second start", || logged("ready\ntrapped\nready"))?;
        docker.run(&["rm", "--force", "long"])?;
        for action in ["create", "start", "die", "stop", "start", "kill", "die", "destroy"] {
            events.expect(action)?;
        }
        events.signal(rustix::process::Signal::TERM)?;
        events.wait()?;
        Ok(())
    }

    /// A terminal in a running container, other limits, figures, a signal.
    fn looked_after(&self) -> Result<()> {
        let docker = self.docker;
        docker.run(&self.run(&["-d", "--name", "kept", "--memory", "64m"], &["sleep", "100000"]))?;
        let mut terminal = Terminal::start(&docker.command(&["exec", "-it", "kept", "sh"]))?;
        terminal.type_keys("until stty size | grep '24 80'; do sleep 0.01; done; test -t 1 && echo in'side'\n")?;
        terminal.expect("inside\r\n")?;
        terminal.type_keys("exit 6\n")?;
        ensure!(terminal.wait()? == 6);
        docker.run(&["update", "--memory", "128m", "--memory-swap", "256m", "--pids-limit", "50", "kept"])?;
        let limits =
            docker.run(&["inspect", "--format", "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}", "kept"])?;
        ensure!(limits == "134217728 50", "{limits}");
        let figures = docker.run(&["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}} {{.MemUsage}}", "kept"])?;
        ensure!(figures.starts_with("kept 1 ") && figures.ends_with("/ 128MiB"), "{figures}");
        docker.run(&["kill", "--signal", "KILL", "kept"])?;
        ensure!(docker.run(&["wait", "kept"])? == "137");
        docker.run(&["rm", "kept"])?;
        Ok(())
    }

    /// A first process that ignores SIGTERM is killed when its time is over.
    fn stopped_by_force(&self) -> Result<()> {
        let docker = self.docker;
        docker.run(&self.run(&["-d", "--name", "deaf"], &["sleep", "100000"]))?;
        docker.run(&["stop", "--time", "0", "deaf"])?;
        ensure!(docker.run(&["wait", "deaf"])? == "137");
        docker.run(&["rm", "deaf"])?;
        ensure!(docker.run(&["ps", "--all", "--quiet"])?.is_empty());
        Ok(())
    }
}
