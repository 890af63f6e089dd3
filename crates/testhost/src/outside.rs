//! Another machine on the wire: a network namespace beside the test host, joined to it by a veth pair.

use std::process::Command;

use anyhow::Result;

use crate::host::Host;

/// The test host's address on this wire.
pub const HOST_ADDRESS: &str = "192.0.2.1";
const OUTSIDE_ADDRESS: &str = "192.0.2.2";
const LINK: &str = "wire0";

pub struct Outside<'h> {
    host: &'h Host,
    pid: u32,
}

impl<'h> Outside<'h> {
    /// One a test host.
    pub fn join(host: &'h Host) -> Result<Self> {
        let mut command = Command::new("unshare");
        let pid = host.spawn("outside", command.args(["--net", "sleep", "infinity"]))?;
        let outside = Self { host, pid };
        let own = std::fs::read_link("/proc/self/ns/net")?;
        crate::wait_until("a network namespace outside", || {
            std::fs::read_link(format!("/proc/{pid}/ns/net")).ok().filter(|other| *other != own)
        })?;
        let name = pid.to_string();
        host.command("ip", &["link", "add", LINK, "type", "veth", "peer", "name", "eth0", "netns", &name])?;
        host.command("ip", &["address", "add", &format!("{HOST_ADDRESS}/24"), "dev", LINK])?;
        host.command("ip", &["link", "set", LINK, "up"])?;
        outside.command(&["ip", "link", "set", "lo", "up"])?;
        outside.command(&["ip", "address", "add", &format!("{OUTSIDE_ADDRESS}/24"), "dev", "eth0"])?;
        outside.command(&["ip", "link", "set", "eth0", "up"])?;
        outside.command(&["ip", "route", "add", "default", "via", HOST_ADDRESS])?;
        Ok(outside)
    }

    /// A process in its network namespace.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Runs a program there; its output.
    pub fn command(&self, words: &[&str]) -> Result<String> {
        let pid = self.pid.to_string();
        self.host.command("nsenter", &[&["--net", "--target", &pid, "--"], words].concat())
    }
}

impl Outside<'_> {
    /// Starts a program there that ends with the test.
    pub fn spawn(&self, log: &str, words: &[&str]) -> Result<u32> {
        let pid = self.pid.to_string();
        self.host.spawn(log, Command::new("nsenter").args(["--net", "--target", &pid, "--"]).args(words))
    }
}

impl Drop for Outside<'_> {
    fn drop(&mut self) {
        // A test that failed half way may not have made the link.
        let _ = self.host.command("ip", &["link", "del", LINK]);
    }
}
