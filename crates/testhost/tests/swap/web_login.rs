//! `docker login` without arguments: by the web page of Docker Hub, for which a stand-in answers.

use std::fs;
use std::net::TcpStream;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testhost::{Docker, Host, Terminal, wait_until};

use crate::CLIENT_28;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/swap/web_login_server.py");
const NAMES: [&str; 3] = ["login.docker.com", "hub.docker.com", "registry-1.docker.io"];

fn open_hub(host: &Host) -> Result<()> {
    let (certificate, key) = (host.path("hub.pem"), host.path("hub.key"));
    let names = NAMES.map(|name| format!("DNS:{name}")).join(",");
    let (subject, certificate_word) = (format!("subjectAltName={names}"), certificate.display().to_string());
    let key_word = key.display().to_string();
    let request =
        ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=hub", "-addext", &subject];
    let files = ["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", &key_word, "-out", &certificate_word];
    host.command("openssl", &[&request[..], &files].concat())?;
    host.cover_file("/etc/hosts", format!("127.0.0.1 localhost {}\n", NAMES.join(" ")).as_bytes())?;
    host.cover_file("/etc/ssl/certs/ca-certificates.crt", &fs::read(&certificate)?)?;
    let mut server = Command::new("/usr/bin/python3");
    server.args(["-B", SCRIPT]).arg("443").args([&certificate, &key, &host.path("revoked")]);
    host.spawn("hub", &mut server)?;
    wait_until("the Hub", || TcpStream::connect("127.0.0.1:443").ok()).map(drop)
}

pub fn by_the_hub_s_page(host: &Host) -> Result<()> {
    open_hub(host)?;
    let engine = host.engine("e")?;
    for docker in [&engine.docker, &Docker { program: CLIENT_28.into(), ..engine.docker.clone() }] {
        log_in_and_out(host, docker).with_context(|| docker.program.display().to_string())?;
    }
    // Where the page is not wanted, or cannot be reached, name and password are asked for.
    let mut command = engine.docker.command(&["login"]);
    command.env("DOCKER_CLI_DISABLE_OAUTH_LOGIN", "1");
    let mut terminal = Terminal::start(&command)?;
    terminal.expect("falling back to command line login...")?;
    terminal.expect("Username: ")?;
    terminal.type_keys("captain\n")?;
    terminal.expect("Password: ")?;
    terminal.type_keys("dckr_pat_secret\n")?;
    terminal.expect("Login Succeeded")?;
    ensure!(terminal.wait()? == 0);
    Ok(())
}

/// From the code to the logout, word by word, by this client.
fn log_in_and_out(host: &Host, docker: &Docker) -> Result<()> {
    // Credentials go into the file: the programs that seal them have their own tests.
    let config = docker.config.join("config.json");
    fs::write(&config, r#"{"auths": {"elsewhere.example": {"auth": "dTpw"}}}"#)?;
    let mut terminal = Terminal::start(&docker.command(&["login"]))?;
    terminal.expect("USING WEB-BASED LOGIN")?;
    terminal.expect("To sign in with credentials on the command line, use 'docker login -u <username>'")?;
    terminal.expect("Your one-time device confirmation code is: \u{1b}[1mABCD-EFGH")?;
    terminal.expect("submit your device code here: \u{1b}[4mhttps://login.docker.com/activate\r\n")?;
    terminal.expect("Waiting for authentication in the browser…\r\n")?;
    terminal.expect("Login Succeeded\r\n")?;
    ensure!(terminal.wait()? == 0);
    let written: Value = serde_json::from_str(&fs::read_to_string(&config)?)?;
    let hub = "https://index.docker.io/v1/";
    for key in [hub.to_owned(), format!("{hub}access-token"), format!("{hub}refresh-token")] {
        ensure!(written["auths"][&key]["auth"].is_string(), "{key} in {written}");
    }
    docker.run(&["logout"])?;
    let written: Value = serde_json::from_str(&fs::read_to_string(&config)?)?;
    ensure!(written["auths"].as_object().is_some_and(|auths| auths.len() == 1), "{written}");
    let revoked = fs::read_to_string(host.path("revoked"))?;
    ensure!(revoked.trim_end().ends_with("&token=refresh"), "{revoked}");
    Ok(())
}
