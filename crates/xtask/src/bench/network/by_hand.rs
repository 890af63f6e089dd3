//! The same links and rules as an engine makes, made with `ip` and `nft`, on a host of their own.
//!
//! Four network namespaces: a router with a bridge and a wire to the world, two boxes on the bridge, and the world.

use std::process::Command;

use anyhow::Result;
use testhost::{Host, wait_until};

use super::traffic::Net;
use super::{HOST_PORT, SERVED};

const RULES: &str = "table inet byhand {
  chain prerouting { type nat hook prerouting priority -100; fib daddr type local tcp dport 8080 dnat ip to 10.200.0.2:7000; }
  chain forward { type filter hook forward priority 0; policy drop;
    ct state established,related accept; ct status dnat accept; iifname \"bridge0\" accept; }
  chain postrouting { type nat hook postrouting priority 100; ip saddr 10.200.0.0/24 oifname != \"bridge0\" masquerade; }
}";

pub struct ByHand {
    router: u32,
    boxes: [u32; 2],
    world: u32,
}

impl ByHand {
    pub fn make(host: &Host) -> Result<Self> {
        let own = std::fs::read_link("/proc/self/ns/net")?;
        let apart = |name: &str| -> Result<u32> {
            let pid = host.spawn(name, Command::new("unshare").args(["--net", "sleep", "infinity"]))?;
            wait_until("a namespace", || {
                std::fs::read_link(format!("/proc/{pid}/ns/net")).ok().filter(|other| *other != own)
            })?;
            Ok(pid)
        };
        let made = Self { router: apart("router")?, boxes: [apart("box-0")?, apart("box-1")?], world: apart("world")? };
        let ip = |pid: u32, words: &str| {
            let pid = pid.to_string();
            let words: Vec<&str> = words.split(' ').collect();
            host.command("nsenter", &[&["--net", "--target", &pid, "ip"], &words[..]].concat()).map(drop)
        };
        ip(made.router, "link add bridge0 type bridge")?;
        ip(made.router, "address add 10.200.0.1/24 dev bridge0")?;
        ip(made.router, "link set bridge0 up")?;
        for (number, pid) in made.boxes.iter().enumerate() {
            ip(made.router, &format!("link add box{number} type veth peer name eth0 netns {pid}"))?;
            ip(made.router, &format!("link set box{number} master bridge0 up"))?;
            ip(*pid, &format!("address add 10.200.0.{}/24 dev eth0", number + 2))?;
            ip(*pid, "link set eth0 up")?;
            ip(*pid, "route add default via 10.200.0.1")?;
        }
        ip(made.router, &format!("link add wire type veth peer name eth0 netns {}", made.world))?;
        ip(made.router, "address add 198.51.100.1/24 dev wire")?;
        ip(made.router, "link set wire up")?;
        ip(made.world, "address add 198.51.100.2/24 dev eth0")?;
        ip(made.world, "link set eth0 up")?;
        let router = made.router.to_string();
        let inside = |words: &[&str]| host.command("nsenter", &[&["--net", "--target", &router], words].concat());
        inside(&["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])?;
        inside(&["nft", RULES])?;
        Ok(made)
    }

    pub fn bridge(&self) -> Net {
        let to = ([10, 200, 0, 2], SERVED).into();
        Net { server: self.boxes[0], client: self.boxes[1], listen: SERVED, to }
    }

    pub fn published(&self) -> Net {
        let to = ([198, 51, 100, 1], HOST_PORT).into();
        Net { server: self.boxes[0], client: self.world, listen: SERVED, to }
    }
}
