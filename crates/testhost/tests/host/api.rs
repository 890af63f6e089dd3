//! The Engine API's own habits: how bodies are read, what is refused in which words, what versions change.

use anyhow::Result;
use testhost::{Host, raw_request, wait_until};

/// Members in any case, the last of two, Go's words for wrong types.
pub fn bodies(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let create = |name: &str, body: &str| {
        engine.request("POST", &format!("/v1.51/containers/create?name={name}"), body.as_bytes())
    };
    let body = r#"{"image":"nothing","IMAGE":"busybox","cmd":["true"],"hostconfig":{"PRIVILEGED":true},
        "HostConfig":{"memory":8388608},"Entrypoint":[],"Unknown":[[[{}]]]}"#;
    assert_eq!(create("box", body)?.status, 201);
    let inspect = engine.request("GET", "/v1.51/containers/box/json", b"")?;
    for member in [r#""Privileged":true"#, r#""Memory":8388608"#, r#""Cmd":["true"]"#, r#""Image":"busybox""#] {
        assert!(inspect.body.contains(member), "{member} in {}", inspect.body);
    }
    for (body, words) in [
        (r#"{"HostConfig":[]}"#, "array into Go struct field CreateRequest.HostConfig of type container.HostConfig"),
        (r#"{"Image":7}"#, "number into Go struct field CreateRequest.Config.Image of type string"),
        (
            r#"{"Image":"a","HostConfig":{"Memory":"1g"}}"#,
            "string into Go struct field HostConfig.HostConfig.Resources.Memory of type int64",
        ),
    ] {
        let reply = create("bad", body)?;
        let message = format!("invalid JSON: json: cannot unmarshal {words}");
        assert_eq!((reply.status, reply.message()), (400, message));
    }
    for (body, words) in [
        ("", "invalid JSON: got EOF while reading request body"),
        ("{}", "config cannot be empty in order to create a container"),
        (r#"{"Image":"busybox"} x"#, "unexpected content after JSON"),
        (r#"{"Image":"busybox","Env":[""]}"#, "invalid environment variable: "),
    ] {
        let reply = create("bad", body)?;
        assert_eq!((reply.status, reply.message().as_str()), (400, words), "{body}");
    }
    let reply = engine.request("POST", "/v1.51/containers/box/start", &vec![b' '; 6 << 20])?;
    assert_eq!(reply.status, 400, "refused before its body was read, and heard nevertheless: {}", reply.body);
    assert!(reply.message().starts_with("starting container with non-empty request body"), "{}", reply.body);
    assert_eq!(engine.request("DELETE", "/v1.51/containers/box", b"")?.status, 204);
    Ok(())
}

/// What older clients ask for and are told.
pub fn versions(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    engine.import_busybox("busybox")?;
    let ask = |method: &str, path: &str, body: &str| engine.request(method, path, body.as_bytes());
    let sleeps = r#"{"Image":"busybox","Cmd":["sh","-c","trap '' TERM; sleep 1000 & wait; wait"],
        "HostConfig":{"AutoRemove":true,"Annotations":{"a":"b"},"ConsoleSize":[7,8]}}"#;
    assert_eq!(ask("POST", "/v1.24/containers/create?name=old", sleeps)?.status, 201);
    assert_eq!(ask("POST", "/v1.51/containers/create?name=new", sleeps)?.status, 201);
    let host_config = |name: &str| ask("GET", &format!("/v1.51/containers/{name}/json"), "").map(|reply| reply.body);
    let (old, new) = (host_config("old")?, host_config("new")?);
    for (member, of_old, of_new) in [
        (r#""AutoRemove":true"#, false, true),
        (r#""Annotations":{"a":"b"}"#, false, true),
        (r#""ConsoleSize":[7,8]"#, false, true),
        (r#""IpcMode":"shareable""#, true, false),
    ] {
        assert_eq!((old.contains(member), new.contains(member)), (of_old, of_new), "{member}");
    }

    let two = r#"{"Image":"busybox","NetworkingConfig":{"EndpointsConfig":{"a":{},"b":{}}}}"#;
    let reply = ask("POST", "/v1.43/containers/create", two)?;
    let words = "Container cannot be created with multiple network endpoints: a, b";
    assert_eq!((reply.status, reply.message().as_str()), (400, words));

    assert!(ask("GET", "/v1.43/images/json", "")?.body.contains("\"VirtualSize\""));
    assert!(!ask("GET", "/v1.44/images/json", "")?.body.contains("\"VirtualSize\""));
    assert!(ask("GET", "/v1.49/info", "")?.body.contains("\"BridgeNfIptables\":false"));
    assert!(!ask("GET", "/v1.50/info", "")?.body.contains("BridgeNfIptables"));

    assert_eq!(ask("POST", "/v1.24/containers/old/start", "")?.status, 204);
    // The signal came with 1.42: TERM is sent, and after a second the end of all patience.
    assert_eq!(ask("POST", "/v1.41/containers/old/stop?signal=NONSENSE&t=1", "")?.status, 204);
    let reply = ask("POST", "/v1.42/containers/old/stop?signal=NONSENSE", "")?;
    assert!(matches!(reply.status, 304 | 400), "{}", reply.status);
    let reply = ask("POST", "/v1.29/containers/old/wait?condition=nonsense", "")?;
    assert_eq!((reply.status, reply.body.trim()), (200, r#"{"StatusCode":137}"#));
    assert_eq!(ask("POST", "/v1.30/containers/old/wait?condition=nonsense", "")?.status, 400);
    for name in ["old", "new"] {
        assert_eq!(ask("DELETE", &format!("/v1.51/containers/{name}?force=1"), "")?.status, 204);
    }
    Ok(())
}

/// Whoever starts an exec says whether its stream is a terminal's.
pub fn exec_streams(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    engine.docker.run(&["run", "-d", "--name", "box", &image, "sleep", "1000"])?;
    let output = |tty: bool, client: bool| -> Result<String> {
        let body = format!(
            r#"{{"AttachStdout":true,"AttachStderr":true,"Tty":{tty},"Cmd":["sh","-c","echo out; echo err >&2"]}}"#
        );
        let created = engine.request("POST", "/v1.51/containers/box/exec", body.as_bytes())?;
        let id = created.body.split('"').nth(3).unwrap_or_default().to_owned();
        let body = format!(r#"{{"Tty":{client}}}"#);
        Ok(engine.request("POST", &format!("/v1.51/exec/{id}/start"), body.as_bytes())?.body)
    };
    assert_eq!(output(true, true)?, "out\r\nerr\r\n");
    assert_eq!(output(false, true)?, "out\n", "frames are taken off, and stderr has no place");
    let framed = wait_until("both lines in frames", || output(true, false).ok().filter(|text| text.contains("err")))?;
    assert!(framed.starts_with("\u{1}\0\0\0\0\0\0") && framed.ends_with("err\r\n"), "{framed:?}");
    let reply = raw_request(
        &engine.socket(),
        b"GET /v1.51/containers/json?all=%zz HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n",
    )?;
    assert_eq!((reply.status, reply.message().as_str()), (400, "invalid URL escape \"%zz\""));
    engine.docker.run(&["rm", "-f", "box"])?;
    Ok(())
}
