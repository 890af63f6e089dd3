//! Logs that go elsewhere, and logs under pressure: turning files, full disks.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, ensure};
use testhost::{Docker, Host, wait_until};

use crate::clients;

/// Prints a counter, with a pause after every tenth line, until it is told to stop.
const COUNTER: &str = "i=0; until [ -e /stop ]; do i=$((i+1)); echo line $i; \
                       [ $((i % 10)) = 0 ] && usleep 20000; done; echo last $i";

/// The numbers that came over any connection, in the order in which they came.
#[derive(Clone, Default)]
struct Received(Arc<Mutex<Vec<u64>>>);

impl Received {
    /// Takes lines that end in a number, over connection after connection, for the rest of the test.
    fn listen(listener: TcpListener) -> Self {
        let received = Self::default();
        let kept = received.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = kept.clone();
                thread::spawn(move || {
                    for line in BufReader::new(stream).lines().map_while(Result::ok) {
                        let number: Option<u64> = line.rsplit(' ').next().and_then(|word| word.parse().ok());
                        kept.0.lock().unwrap_or_else(PoisonError::into_inner).extend(number);
                    }
                });
            }
        });
        received
    }

    fn numbers(&self) -> Vec<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub fn shipped(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("syslog-address=tcp://{}", listener.local_addr()?);
    let received = Received::listen(listener);
    let options = ["--log-driver", "syslog", "--log-opt", &address, "--log-opt", "cache-max-size=20k"];
    engine.docker.run(&[&["run", "-d", "--name", "counter"], &options[..], &[&image, "sh", "-c", COUNTER]].concat())?;
    for round in 0..4 {
        let before = received.numbers().len();
        wait_until("more lines", || (received.numbers().len() > before + 200).then_some(()))?;
        engine.kill_dockerd()?;
        if round % 2 == 0 {
            // It prints on with nobody there.
            thread::sleep(std::time::Duration::from_millis(300));
        }
        engine.start_again()?;
    }
    engine.docker.run(&["exec", "counter", "touch", "/stop"])?;
    ensure!(engine.docker.run(&["wait", "counter"])? == "0");
    let log = engine.docker.run(&["logs", "counter"])?;
    let last: u64 = log.rsplit(' ').next().unwrap_or_default().parse().context("the last line")?;
    let complete = |numbers: &[u64]| numbers.iter().collect::<BTreeSet<_>>().len() as u64 == last;
    wait_until("the rest of the log", || complete(&received.numbers()).then_some(()))?;
    let numbers = received.numbers();
    // What was on its way when the daemon died comes again; nothing is left out, and nothing comes late.
    let mut expected = 1;
    for number in &numbers {
        ensure!(*number <= expected, "{expected} was expected, {number} came");
        expected = expected.max(*number + 1);
    }
    let again = numbers.len() as u64 - last - 1;
    ensure!(again < 4 * 2000, "{again} lines came again");
    engine.docker.run(&["rm", "counter"])?;
    host.expect_no_container_left()
}

pub fn left_behind(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let option = format!("gelf-address=tcp://{address}");
    let options = ["--log-driver", "gelf", "--log-opt", &option];
    let script = "until [ -e /go ]; do usleep 10000; done; seq 1 500";
    engine.docker.run(&[&["run", "-d", "--name", "late"], &options[..], &[&image, "sh", "-c", script]].concat())?;
    // The receiver goes; the container prints and ends; the daemon dies, and comes up with the receiver.
    drop(listener.accept()?);
    drop(listener);
    engine.docker.run(&["exec", "late", "touch", "/go"])?;
    ensure!(engine.docker.run(&["wait", "late"])? == "0", "a receiver that is gone holds nobody up");
    engine.kill_dockerd()?;
    let listener = TcpListener::bind(address)?;
    engine.start_again()?;
    let (mut stream, _) = listener.accept()?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    let messages: Vec<serde_json::Value> = text
        .split(|byte| *byte == 0)
        .filter(|message| !message.is_empty())
        .map(serde_json::from_slice)
        .collect::<Result<_, _>>()?;
    let shorts: Vec<_> = messages.iter().filter_map(|message| message["short_message"].as_str()).collect();
    ensure!(shorts == (1..=500).map(|number| number.to_string()).collect::<Vec<_>>(), "{} came", shorts.len());
    ensure!(messages[0]["_container_name"] == "late" && messages[0]["_image_name"] == "busybox", "{}", messages[0]);
    engine.docker.run(&["rm", "late"])?;
    Ok(())
}

pub fn journal(host: &Host) -> Result<()> {
    // The socket's folder is this test's own.
    host.command("mount", &["-t", "tmpfs", "tmpfs", "/run/systemd"])?;
    std::fs::create_dir_all("/run/systemd/journal")?;
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let refused = engine.docker.try_run(&["run", "--rm", "--log-driver", "journald", &image, "true"])?;
    ensure!(refused.stderr.contains("failed to initialize logging driver: journald is not enabled on this host"));
    let socket = UnixDatagram::bind("/run/systemd/journal/socket")?;
    socket.set_read_timeout(Some(std::time::Duration::from_secs(20)))?;
    let options =
        ["--log-driver", "journald", "--log-opt", "tag={{.Name}}!", "--log-opt", "labels=a", "--label", "a=1"];
    let script = "echo out; echo err >&2";
    engine.docker.run(&[&["run", "--name", "journal"], &options[..], &[&image, "sh", "-c", script]].concat())?;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let mut buffer = [0; 4096];
        let count = socket.recv(&mut buffer)?;
        let text = String::from_utf8(buffer[..count].to_vec())?;
        for field in [
            "CONTAINER_NAME=journal\n",
            "CONTAINER_TAG=journal!\n",
            "SYSLOG_IDENTIFIER=journal!\n",
            "IMAGE_NAME=busybox\n",
            "A=1\n",
        ] {
            ensure!(text.contains(field), "{field} is missing in {text}");
        }
        seen.push(text.lines().take(2).map(str::to_owned).collect::<Vec<_>>());
    }
    seen.sort();
    ensure!(seen == [["PRIORITY=3", "MESSAGE=err"], ["PRIORITY=6", "MESSAGE=out"]], "{seen:?}");
    let details = engine.docker.run(&["logs", "--details", "journal"])?;
    ensure!(details == "a=1,tag=journal%21 out", "details: {details}");
    engine.docker.run(&["rm", "-f", "journal"])?;
    drop(socket);
    host.command("umount", &["/run/systemd"])?;
    Ok(())
}

pub fn rsyslog(host: &Host) -> Result<()> {
    let (output, configuration) = (host.path("syslog.out"), host.path("rsyslog.conf"));
    let rules = format!(
        "module(load=\"imtcp\")\ninput(type=\"imtcp\" port=\"1514\")\n\
         template(name=\"lines\" type=\"string\" string=\"%syslogfacility-text%.%syslogseverity-text% %app-name% %msg%\\n\")\n\
         *.* action(type=\"omfile\" file=\"{}\" template=\"lines\")\n",
        output.display()
    );
    std::fs::write(&configuration, rules)?;
    let mut command = Command::new("rsyslogd");
    command.arg("-n").arg("-f").arg(&configuration).arg("-i").arg(host.path("rsyslog.pid"));
    host.spawn("rsyslogd", &mut command)?;
    wait_until("rsyslogd", || std::net::TcpStream::connect("127.0.0.1:1514").ok())?;
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let options = ["--log-driver", "syslog", "--log-opt", "syslog-address=tcp://127.0.0.1:1514"];
    let format =
        ["--log-opt", "syslog-format=rfc5424micro", "--log-opt", "syslog-facility=local3", "--log-opt", "tag=app"];
    let script = "seq 1 3000; echo wrong >&2";
    engine
        .docker
        .run(&[&["run", "--name", "remote"], &options[..], &format[..], &[&image, "sh", "-c", script]].concat())?;
    let lines = || -> Vec<String> {
        let text = std::fs::read_to_string(&output).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    wait_until("all lines", || (lines().len() == 3001).then_some(()))?;
    let wanted: BTreeSet<String> = (1..=3000).map(|number| format!("local3.info app {number}")).collect();
    let mut seen: BTreeSet<String> = lines().into_iter().map(|line| line.replace("app  ", "app ")).collect();
    ensure!(seen.remove("local3.err app wrong"), "{:?}", lines().last());
    ensure!(seen == wanted, "{:?}", seen.symmetric_difference(&wanted).next());
    engine.docker.run(&["rm", "remote"])?;
    Ok(())
}

pub fn words(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let at_start = "failed to create task for container: failed to initialize logging driver: ";
    let cases: [(&[&str], &str); 9] = [
        (&["--log-driver", "splunk"], "logger: no log driver named 'splunk' is registered"),
        (&["--log-opt", "x=1"], "unknown log opt 'x' for json-file log driver"),
        (&["--log-driver", "local", "--log-opt", "tag=x"], "unknown log opt 'tag' for log driver local"),
        (&["--log-driver", "gelf"], "gelf-address is a required parameter"),
        (&["--log-opt", "mode=never"], "logger: logging mode not supported: never"),
        (&["--log-opt", "max-size=big"], "@invalid size: 'big'"),
        (&["--log-opt", "max-file=0"], "@max-file cannot be less than 1"),
        (
            &["--log-driver", "syslog", "--log-opt", "syslog-address=tcp://127.0.0.1:1"],
            "@dial tcp 127.0.0.1:1: connect: connection refused",
        ),
        (&["--log-driver", "fluentd"], "@dial tcp 127.0.0.1:24224: connect: connection refused"),
    ];
    for docker in clients(&engine) {
        for (options, wanted) in cases {
            let ran = docker.try_run(&[&["run", "--rm"], options, &[&image, "true"]].concat())?;
            let wanted = wanted.strip_prefix('@').map_or(wanted.to_owned(), |why| format!("{at_start}{why}"));
            let said = ran.stderr.lines().next().unwrap_or_default();
            ensure!(said == format!("docker: Error response from daemon: {wanted}"), "{options:?}: {said}");
            ensure!(ran.code == 125, "{options:?}: exit {}", ran.code);
        }
        docker.run(&["run", "--name", "quiet", "--log-driver", "none", &image, "echo", "x"])?;
        let ran = docker.try_run(&["logs", "quiet"])?;
        let wanted = "Error response from daemon: configured logging driver does not support reading";
        ensure!((ran.code, ran.stderr.trim()) == (1, wanted), "{}", ran.stderr);
        docker.run(&["rm", "quiet"])?;
    }
    Ok(())
}

pub fn turning(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let wanted = || (1..=30_000).map(|number| format!("{number}\n")).collect::<String>();
    for driver in ["json-file", "local"] {
        let options = ["--log-opt", "max-size=100k", "--log-opt", "max-file=200", "--log-opt", "compress=true"];
        let script = "until [ -e /go ]; do usleep 10000; done; seq 1 30000";
        let run =
            [&["run", "-d", "--name", "turning", "--log-driver", driver], &options[..], &[&image, "sh", "-c", script]];
        engine.docker.run(&run.concat())?;
        let follower = engine.docker.start(&["logs", "-f", "turning"])?;
        engine.docker.run(&["exec", "turning", "touch", "/go"])?;
        // Readings while the files turn have no gap, wherever they end.
        for _ in 0..5 {
            let read = engine.docker.run(&["logs", "turning"])?;
            let wanted = wanted();
            let gap = wanted.lines().zip(read.lines()).find(|(wanted, read)| !wanted.starts_with(read));
            ensure!(wanted.starts_with(&read), "a reading of {} bytes has a gap: {gap:?}", read.len());
        }
        ensure!(engine.docker.run(&["wait", "turning"])? == "0");
        let followed = follower.wait()?;
        ensure!(followed.stdout == wanted(), "{driver}: {} bytes were followed", followed.stdout.len());
        ensure!(engine.docker.run(&["logs", "turning"])? == wanted().trim_end());
        let tail = engine.docker.run(&["logs", "--tail", "20000", "turning"])?;
        ensure!(tail.lines().count() == 20_000 && tail.starts_with("10001\n"), "{driver}: a tail over many files");
        let id = engine.docker.run(&["inspect", "-f", "{{.Id}}", "turning"])?;
        let folder = engine.data_root().join("containers").join(id);
        ensure!(has_compressed(&folder)?, "{driver}: no file was compressed");
        engine.docker.run(&["rm", "turning"])?;
    }
    Ok(())
}

fn has_compressed(folder: &Path) -> Result<bool> {
    let folders = [folder.to_owned(), folder.join("local-logs")];
    let names = folders.iter().filter_map(|folder| folder.read_dir().ok()).flatten().flatten();
    Ok(names.into_iter().any(|entry| entry.path().extension().is_some_and(|end| end == "gz")))
}

pub fn restarted(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let script = "echo begin; trap 'echo end; exit 0' TERM; while :; do usleep 10000; done";
    engine.docker.run(&["run", "-d", "--name", "again", &image, "sh", "-c", script])?;
    let mut follower = engine.docker.start(&["logs", "-f", "again"])?;
    follower.expect("begin\n")?;
    engine.docker.run(&["restart", "again"])?;
    follower.expect("end\nbegin\n")?;
    engine.docker.run(&["rm", "-f", "again"])?;
    let followed = follower.wait()?;
    ensure!(followed.stdout == "begin\nend\nbegin\n" && followed.code == 0, "{followed:?}");
    Ok(())
}

pub fn full_disk(host: &Host) -> Result<()> {
    let data = host.path("e-data");
    std::fs::create_dir_all(&data)?;
    host.command("mount", &["-t", "tmpfs", "-o", "size=32m", "tmpfs", &data.display().to_string()])?;
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let docker: &Docker = &engine.docker;
    let script = "yes 0123456789 | head -n 5000000; exit 7";
    docker.run(&["run", "-d", "--name", "full", "--log-opt", "max-size=-1", &image, "sh", "-c", script])?;
    ensure!(docker.run(&["wait", "full"])? == "7", "a full disk neither stops a container nor kills it");
    let log = docker.run(&["logs", "full"])?;
    let lines = log.lines().count();
    ensure!((50_000..5_000_000).contains(&lines), "{lines} lines are there");
    ensure!(log.lines().all(|line| line == "0123456789"), "what is there is whole");
    docker.run(&["rm", "full"])?;
    ensure!(docker.run(&["run", "--rm", &image, "echo", "room"])? == "room");
    Ok(())
}
