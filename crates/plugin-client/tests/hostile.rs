//! Plugins that answer nonsense, too much, too slowly or not at all: an error each time, in time, and nothing else.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use plugin_client::{Plugin, PluginError, Plugins};
use serde_json::{Value, json};

/// How long a call may take here.
const LIMIT: Duration = Duration::from_millis(200);
/// What may pass until an error is told, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// Hands every connection, its request read, to the closure.
fn plugin(folder: &Path, answer: impl Fn(&mut UnixStream) + Send + 'static) -> Plugin {
    let listener = UnixListener::bind(folder.join("p.sock")).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            // The request is short enough to come in one piece, more or less.
            let mut request = [0; 4096];
            if stream.read(&mut request).is_ok() {
                answer(&mut stream);
            }
        }
    });
    let plugins = Plugins { sockets: folder.to_path_buf(), specs: Vec::new(), patience: Duration::from_millis(100) };
    plugins.find("p").unwrap()
}

async fn call(plugin: &Plugin) -> Result<Value, PluginError> {
    let begun = Instant::now();
    let answer = plugin.call_within("A.B", &json!({"x": 1}), LIMIT).await;
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    answer
}

#[tokio::test]
async fn a_plugin_that_never_answers_or_drips_is_late() {
    let folder = tempfile::tempdir().unwrap();
    let silent = plugin(folder.path(), |stream| {
        let _ = stream.read(&mut [0; 1]);
    });
    assert!(matches!(call(&silent).await, Err(PluginError::Late { .. })));
    let folder = tempfile::tempdir().unwrap();
    let drips = plugin(folder.path(), |stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        while stream.write_all(b" ").is_ok() {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    assert!(matches!(call(&drips).await, Err(PluginError::Late { .. })));
}

#[tokio::test]
async fn an_answer_without_an_end_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let endless = plugin(folder.path(), |stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        let piece = [b' '; 1 << 16];
        while stream.write_all(&piece).is_ok() {}
    });
    let error = endless.call_within::<_, Value>("A.B", &json!({}), PATIENCE).await.unwrap_err();
    assert!(matches!(error, PluginError::Answer { .. }), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let headers = plugin(folder.path(), |stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(b"X-Y: zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz\r\n").is_ok() {}
    });
    let error = headers.call_within::<_, Value>("A.B", &json!({}), PATIENCE).await.unwrap_err();
    assert!(matches!(error, PluginError::Unreachable { .. }), "{error}");
}

/// xorshift: the same answers in every run.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[tokio::test]
async fn answers_with_a_few_wrong_bytes_are_read_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let seed = std::sync::Mutex::new(0x2545_f491_4f6c_dd1d_u64);
    let mangled = plugin(folder.path(), move |stream| {
        let body = r#"{"Volume":{"Name":"a","Mountpoint":"/m","Status":{"k":[1,2.5,null,"\u00e9"]}},"Err":""}"#;
        let length = body.len();
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .into_bytes();
        let mut state = seed.lock().unwrap();
        for _ in 0..=next(&mut state) % 4 {
            if answer.len() < 2 {
                break;
            }
            let at = usize::try_from(next(&mut state)).unwrap() % answer.len();
            match next(&mut state) % 3 {
                0 => answer[at] = next(&mut state).to_le_bytes()[0],
                1 => drop(answer.remove(at)),
                _ => answer.truncate(at.max(1)),
            }
        }
        let _ = stream.write_all(&answer);
    });
    let (mut read, mut refused) = (0, 0);
    for _ in 0..1500 {
        match call(&mangled).await {
            Ok(_) => read += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(read > 0 && refused > 0, "{read} read, {refused} refused");
}
