//! `run -it`, detaching, attaching, `exec -it`, as a person at a terminal does it.

use anyhow::Result;
use testhost::{Host, Terminal};

use crate::clients;

const PROMPT: &str = "/ # ";
const CTRL_P_CTRL_Q: &str = "\u{10}\u{11}";

pub fn shell(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    for docker in clients(&engine) {
        let mut terminal = Terminal::start(&docker.command(&["run", "-it", "--name", "shell", &image]))?;
        terminal.expect(PROMPT)?;
        let id = docker.run(&["inspect", "--format", "{{.Id}}", "shell"])?;
        terminal.type_keys("hostname; echo pid $$\n")?;
        terminal.expect(&format!("{}\r\n", &id[..12]))?;
        terminal.expect("pid 1\r\n")?;
        terminal.expect(PROMPT)?;
        terminal.type_keys("ps -o pid,comm; echo end-of-ps\n")?;
        let listed = terminal.expect("\r\nend-of-ps\r\n")?;
        let rows: Vec<&str> =
            listed.lines().filter(|line| line.trim().starts_with(|c: char| c.is_ascii_digit())).collect();
        assert!(rows.len() == 2 && rows[0].trim() == "1 sh" && rows[1].ends_with("ps"), "{listed}");
        terminal.expect(PROMPT)?;
        terminal.type_keys("stty size\n")?;
        terminal.expect("24 80\r\n")?;
        terminal.resize(100, 40)?;
        wait_for_size(&mut terminal, "40 100")?;

        terminal.type_keys("kept=yes\n")?;
        terminal.expect(PROMPT)?;
        terminal.type_keys(CTRL_P_CTRL_Q)?;
        assert_eq!(terminal.wait()?, 0, "detached: {:?}", terminal.screen());
        assert_eq!(docker.run(&["inspect", "--format", "{{.State.Running}}", "shell"])?, "true");

        let mut exec = Terminal::start(&docker.command(&["exec", "-it", "shell", "sh"]))?;
        exec.expect(PROMPT)?;
        exec.type_keys("tty && echo host $(hostname)\n")?;
        exec.expect("/dev/pts/")?;
        exec.expect(&format!("host {}\r\n", &id[..12]))?;
        exec.expect(PROMPT)?;
        exec.resize(90, 30)?;
        wait_for_size(&mut exec, "30 90")?;
        exec.type_keys("exit 5\n")?;
        assert_eq!(exec.wait()?, 5, "{:?}", exec.screen());

        let mut again = Terminal::start(&docker.command(&["attach", "shell"]))?;
        again.type_keys("echo it was $kept\n")?;
        again.expect("it was yes\r\n")?;
        again.type_keys("exit 42\n")?;
        assert_eq!(again.wait()?, 42, "{:?}", again.screen());
        docker.run(&["rm", "shell"])?;
    }
    Ok(())
}

/// A new size takes its way over the client, the daemon and the shim.
fn wait_for_size(terminal: &mut Terminal, size: &str) -> Result<()> {
    terminal.type_keys(&format!("until [ \"$(stty size)\" = \"{size}\" ]; do usleep 10000; done; echo now so\n"))?;
    // The typed line is echoed first.
    terminal.expect("echo now so")?;
    terminal.expect("now so\r\n")?;
    terminal.expect(PROMPT)?;
    Ok(())
}
