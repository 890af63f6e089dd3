//! Every transcript of the book *Docker Deep Dive*, chapters 4 to 7, typed at a terminal: the same words by our client and
//! by Docker's own, and the shape that the book shows.
//!
//! A file is a section of the book. Where the book is older than Docker 28 the file has Docker 28's words, and says so.

mod hub;

use std::process::ExitCode;

use anyhow::{Context, Result};
use testhost::{Docker, Host, Needs, Stage, Test, Transcript, play, test};

const NEEDS: &[Needs] = &[
    Needs::Path("/bin/busybox"),
    Needs::Path("/bin/bash"),
    Needs::Program("ps", "procps"),
    Needs::Program("curl", "curl"),
    Needs::Program("git", "git"),
    Needs::Program("openssl", "openssl"),
    Needs::Program("docker-registry", "docker-registry"),
    Needs::Program("docker", "docker.io"),
];

/// A test that plays the file.
macro_rules! transcript {
    ($name:literal, $file:literal) => {
        test($name, NEEDS, |host| play_file(host, $file, include_str!($file)))
    };
}

const TESTS: &[Test] = &[
    transcript!("chapter_4_the_daemon_answers", "4-version.txt"),
    transcript!("chapter_4_an_image_is_pulled_and_listed", "4-images.txt"),
    transcript!("chapter_4_a_container_is_entered_and_left", "4-containers.txt"),
    transcript!("chapter_4_an_application_becomes_an_image_and_answers", "4-dev.txt"),
    transcript!("chapter_5_each_program_has_one_task", "5-engine.txt"),
    transcript!("chapter_6_images_are_pulled", "6-pulling.txt"),
    transcript!("chapter_6_names_lead_to_registries", "6-naming.txt"),
    transcript!("chapter_6_a_repository_has_several_tags_and_layers_in_common", "6-tags.txt"),
    transcript!("chapter_6_an_image_is_its_layers", "6-layers.txt"),
    transcript!("chapter_6_a_digest_names_one_content", "6-digests.txt"),
    transcript!("chapter_6_a_name_stands_for_several_architectures", "6-architectures.txt"),
    transcript!("chapter_6_images_are_deleted_unless_they_are_used", "6-deleting.txt"),
    transcript!("chapter_7_a_container_is_its_processes", "7-run.txt"),
    transcript!("chapter_7_a_container_keeps_its_data", "7-life-cycle.txt"),
    transcript!("chapter_7_stop_asks_and_then_kills", "7-stopping.txt"),
    transcript!("chapter_7_a_web_server_answers", "7-web-server.txt"),
];

fn main() -> ExitCode {
    testhost::run(TESTS)
}

fn play_file(host: &Host, file: &str, text: &str) -> Result<()> {
    let transcript = Transcript::parse(text).context(file.to_owned())?;
    hub::open(host)?;
    let github = hub::application(host)?;
    let engine = host.engine("e")?;
    let daemon = engine.exec_root().display().to_string();
    for (who, docker) in [("ours", engine.docker.clone()), ("Docker's", engine.docker_of_docker())] {
        let socket = engine.socket().display().to_string();
        let variables = [("DOCKER_SOCKET", socket), ("DOCKER_EXEC_ROOT", daemon.clone())];
        let variables = variables.map(|(name, value)| (name.to_owned(), value)).into_iter().chain(github.clone());
        let variables = variables.collect();
        let stage = Stage { host, docker, variables };
        play(&stage, &transcript).with_context(|| format!("{file}, {who} client"))?;
        clear(&engine.docker)?;
    }
    Ok(())
}

/// What a session left is not the next one's.
fn clear(docker: &Docker) -> Result<()> {
    let list = |words: &[&str]| -> Result<Vec<String>> { Ok(docker.run(words)?.lines().map(str::to_owned).collect()) };
    for (listing, removal) in
        [(["ps", "-aq", "--no-trunc"], ["rm", "-f"]), (["images", "-aq", "--no-trunc"], ["rmi", "-f"])]
    {
        let mut found = list(&listing)?;
        found.sort();
        found.dedup();
        for id in found {
            docker.run(&[removal[0], removal[1], &id])?;
        }
    }
    Ok(())
}
