//! `kill -9` of the daemons at random moments while containers run: what has to hold in every round, and at the end.
//!
//! [`run`] starts a [`Cast`] of containers that talk, serve and resolve for the whole time, then plays rounds. In each a
//! command is under way (or none), dockerd, docker-containerd or both die, what must go on without them is looked at, and
//! what they say after their next start is compared with what is known. Every choice comes from the seed.

mod cast;
mod journal;
mod round;

use anyhow::{Context, Result, ensure};

use crate::host::Host;
use crate::random::Random;
use cast::Cast;
use round::Stage;

/// How often, and with which choices.
#[derive(Debug, Clone, Copy)]
pub struct Rounds {
    pub rounds: u32,
    pub seed: u64,
}

/// Plays the rounds; an error says round, seed and what was expected.
pub fn run(host: &Host, rounds: Rounds) -> Result<()> {
    let engine = host.engine("k")?;
    let image = engine.import_busybox("busybox")?;
    let cast = Cast::start(&engine, &image)?;
    let mut stage = Stage::new(host, &engine, &image, &cast, Random::new(rounds.seed));
    for number in 1..=rounds.rounds {
        let played = stage.play();
        let played = played.and_then(|()| if number % 10 == 0 { stage.kill_a_shim() } else { Ok(()) });
        played.with_context(|| format!("round {number} of seed {}: {}", rounds.seed, stage.script()))?;
        println!("round {number} of {}: {}", rounds.rounds, stage.script());
    }
    let ended = stage.end().and_then(|()| cast.end());
    ended.with_context(|| format!("after {} rounds of seed {}", rounds.rounds, rounds.seed))?;
    let listed = engine.docker.run(&["ps", "-aq"])?;
    ensure!(listed.is_empty(), "seed {}: containers that nobody knows: {listed}", rounds.seed);
    engine.docker.run(&["rmi", &image])?;
    Ok(())
}
