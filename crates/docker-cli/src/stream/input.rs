//! Standard input, read by a thread of its own: a terminal's descriptor is shared with the shell and must stay blocking.

use std::io::Read;

use tokio::sync::mpsc;

/// Bytes that are read at a time.
const CHUNK: usize = 32 << 10;
/// Chunks that wait to be sent.
const QUEUE: usize = 4;

/// Chunks of standard input; the channel closes at its end. The thread ends with the program.
pub fn start() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut buffer = vec![0; CHUNK];
        loop {
            match stdin.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => {
                    if sender.blocking_send(buffer[..read].to_vec()).is_err() {
                        break;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    });
    receiver
}
