//! The containers that run through all rounds.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::journal::Journal;
use crate::engine::Engine;
use crate::host::wait_until;

/// Published by the container that serves.
const PORT: u16 = 8081;
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// A line each few milliseconds.
const SLOW: &str = "i=0; while :; do i=$((i+1)); echo $i; usleep 3000; done";
/// Each waits for the other, then looks it up again and again: a number for each answer, a word for each that is missing.
const RESOLVE: &str = "look() { nslookup OTHER 2>/dev/null | grep -q '^Name:.*OTHER'; }
until look; do usleep 20000; done
i=0; while :; do if look; then i=$((i+1)); echo $i; else echo unresolved; fi; usleep 20000; done";

pub struct Cast<'e> {
    engine: &'e Engine<'e>,
    members: Vec<Member>,
}

struct Member {
    name: &'static str,
    id: String,
    /// Process id and start time: another one means that the container died.
    life: String,
}

impl<'e> Cast<'e> {
    pub fn start(engine: &'e Engine<'e>, image: &str) -> Result<Self> {
        let mut cast = Self { engine, members: Vec::new() };
        engine.docker.run(&["network", "create", "stage"])?;
        let published = format!("{PORT}:80");
        cast.add("slow", &[], image, &["sh", "-c", SLOW])?;
        cast.add("served", &["-p", &published], image, &["httpd", "-f", "-p", "80", "-h", "/etc"])?;
        cast.add("alice", &["--network", "stage"], image, &["sh", "-c", &RESOLVE.replace("OTHER", "bob")])?;
        cast.add("bob", &["--network", "stage"], image, &["sh", "-c", &RESOLVE.replace("OTHER", "alice")])?;
        wait_until("the first answers of the cast", || {
            let talking = ["slow", "alice", "bob"].iter().all(|name| cast.journal(name).last().is_some());
            (talking && fetch().is_ok()).then_some(())
        })?;
        Ok(cast)
    }

    fn add(&mut self, name: &'static str, options: &[&str], image: &str, words: &[&str]) -> Result<()> {
        let docker = &self.engine.docker;
        let id = docker.run(&[&["run", "-d", "--name", name], options, &[image], words].concat())?;
        let life = self.life(name)?;
        self.members.push(Member { name, id, life });
        Ok(())
    }

    fn life(&self, name: &str) -> Result<String> {
        self.engine.docker.run(&["inspect", "--format", "{{.State.Status}} {{.State.Pid}} {{.State.StartedAt}}", name])
    }

    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.id.as_str())
    }

    fn journal(&self, name: &str) -> Journal {
        let id = self.members.iter().find(|member| member.name == name).map_or("", |member| &member.id);
        Journal::new(self.engine.data_root().join("containers").join(id).join(format!("{id}-json.log")))
    }

    /// Whatever is dead: counters go on, names resolve, the published port answers.
    pub fn expect_life(&self) -> Result<()> {
        for name in ["slow", "alice", "bob"] {
            let journal = self.journal(name);
            let before = journal.last();
            let what = format!("{name} to go on counting from {before:?}");
            wait_until(&what, || journal.last().filter(|last| Some(*last) > before))?;
        }
        fetch().context("the published port, with the daemons as they are")?;
        Ok(())
    }

    /// The daemon knows the same processes as at first.
    pub fn expect_unharmed(&self) -> Result<()> {
        for member in &self.members {
            let life = self.life(member.name)?;
            ensure!(life == member.life, "{} was {:?} and is {life:?}", member.name, member.life);
        }
        Ok(())
    }

    /// Ends the cast and reads its logs to the last line.
    pub fn end(&self) -> Result<()> {
        let docker = &self.engine.docker;
        let names: Vec<&str> = self.members.iter().map(|member| member.name).collect();
        docker.run(&[&["kill"], names.as_slice()].concat())?;
        docker.run(&[&["wait"], names.as_slice()].concat())?;
        for name in ["alice", "bob"] {
            self.journal(name).check_without("unresolved").with_context(|| format!("{name}'s look-ups"))?;
        }
        for name in ["slow", "alice", "bob"] {
            let lines = self.journal(name).check_counter()?;
            // What `docker logs` says is what the file holds.
            let said = docker.run(&["logs", "--tail", "1", name])?;
            ensure!(said == lines.to_string(), "{name}: the log ends with {lines}, docker logs with {said:?}");
        }
        docker.run(&[&["rm"], names.as_slice()].concat())?;
        docker.run(&["network", "rm", "stage"])?;
        Ok(())
    }
}

/// A page through the published port.
fn fetch() -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], PORT)), ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.write_all(b"GET /group HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.contains("root:x:0:"), "it answered {answer:?}");
    Ok(())
}
