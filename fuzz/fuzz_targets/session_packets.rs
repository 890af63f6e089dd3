//! A build client that sends whatever it likes over its session: packets of a folder, each with its length before it. No name
//! that is taken leads out, and what is asked for is bounded.

#![no_main]

use std::sync::LazyLock;

use buildkit_api::fsutil::Packet;
use buildkit_api::prost::Message;
use buildkit_session::{ContextStore, Contents, Receiving};
use libfuzzer_sys::fuzz_target;

/// Replies to one packet: the files that are asked for at a time, and the end.
const MAX_REPLIES: usize = 65;

static CONTENTS: LazyLock<(tempfile::TempDir, Contents)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let store = ContextStore::open(folder.path().to_owned()).expect("a store");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let contents = runtime.block_on(store.lend());
    (folder, contents)
});

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes;
    let mut receiving = Receiving::anew(CONTENTS.1.clone());
    while let Ok(packet) = Packet::decode_length_delimited(&mut bytes) {
        let name = packet.stat.as_ref().map(|stat| stat.path.clone());
        let Ok(replies) = receiving.take(packet) else { return };
        assert!(replies.len() <= MAX_REPLIES);
        if let Some(name) = name {
            assert!(name.split('/').all(|part| !matches!(part, "" | "." | "..")), "{name:?} was taken");
        }
        if receiving.is_over() || bytes.is_empty() {
            return;
        }
    }
});
