//! What a plugin sends back, byte by byte as it likes: an answer or an error, never more than the limit, in time.

#![no_main]

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::sync::LazyLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use plugin_client::{Plugin, Plugins};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

struct World {
    runtime: Runtime,
    plugin: Plugin,
    answers: SyncSender<Vec<u8>>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("longshore-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let listener = UnixListener::bind(folder.join("p.sock")).expect("a socket");
    let (answers, waiting) = sync_channel::<Vec<u8>>(1);
    std::thread::spawn(move || {
        for (mut stream, answer) in listener.incoming().flatten().zip(waiting) {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(&answer);
        }
    });
    let plugins = Plugins { sockets: folder, specs: Vec::new(), patience: Duration::from_millis(100) };
    let plugin = plugins.find("p").expect("the plugin");
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    World { runtime, plugin, answers }
});

fuzz_target!(|input: (bool, &[u8])| {
    let (with_head, bytes) = input;
    let mut answer = Vec::new();
    if with_head {
        answer.extend_from_slice(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len()).as_bytes());
    }
    answer.extend_from_slice(bytes);
    WORLD.answers.send(answer).expect("the server runs");
    let argument = json!({"x": 1});
    let call = WORLD.plugin.call_within::<_, Value>("A.B", &argument, Duration::from_secs(2));
    let _ = WORLD.runtime.block_on(call);
});
