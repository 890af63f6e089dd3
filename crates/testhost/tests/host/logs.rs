//! `docker logs`.

use anyhow::Result;
use testhost::{Host, wait_until};

use crate::clients;

pub fn selected(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    for docker in clients(&engine) {
        let script =
            "for i in 1 2 3; do echo line $i; done; until [ -e /go ]; do usleep 10000; done; echo last; echo err >&2";
        docker.run(&["run", "-d", "--name", "talker", &image, "sh", "-c", script])?;
        wait_until("three lines", || docker.run(&["logs", "talker"]).ok().filter(|log| log.lines().count() == 3))?;
        let mut follower = docker.start(&["logs", "-f", "--tail", "1", "talker"])?;
        follower.expect("line 3\n")?;
        // What was printed before this moment and what is printed behind it are told apart by the log's own times.
        let third = docker.run(&["logs", "--timestamps", "--tail", "1", "talker"])?;
        let (time, line) = third.split_once(' ').unwrap_or_default();
        assert_eq!(line, "line 3");
        assert!(time.len() == 30 && time.ends_with('Z') && time.contains('T'), "{time}");
        docker.run(&["exec", "talker", "touch", "/go"])?;
        let followed = follower.wait()?;
        assert_eq!((followed.code, followed.stdout.as_str(), followed.stderr.as_str()), (0, "line 3\nlast\n", "err\n"));
        assert_eq!(docker.run(&["wait", "talker"])?, "0");

        assert_eq!(docker.run(&["logs", "--tail", "3", "talker"])?, "line 3\nlast");
        assert_eq!(docker.run(&["logs", "--tail", "0", "talker"])?, "");
        // Lines of one write may have one time: the pause is between the third and the last.
        let all = docker.run(&["logs", "--timestamps", "talker"])?;
        let last = all.lines().find_map(|line| line.strip_suffix(" last")).unwrap_or_default();
        assert_eq!(docker.run(&["logs", "--since", last, "talker"])?, "last");
        assert_eq!(docker.run(&["logs", "--until", time, "talker"])?, "line 1\nline 2\nline 3");
        assert_eq!(docker.run(&["logs", "--since", "2099-01-01T00:00:00Z", "talker"])?, "");
        docker.run(&["rm", "talker"])?;
        let ran = docker.try_run(&["logs", "talker"])?;
        assert_eq!((ran.code, ran.stderr.trim()), (1, "Error response from daemon: No such container: talker"));
    }
    Ok(())
}
