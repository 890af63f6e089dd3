//! An archive of a stranger: read or refused, whatever it says of itself.

#![no_main]

use archive::{Decompressed, Limits, TarReader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { entries: 10_000, archive_bytes: 1 << 22, ..Limits::default() };
    let longest = limits.path_bytes;
    let Ok(plain) = Decompressed::new(bytes, limits.archive_bytes) else { return };
    let mut reader = TarReader::new(plain, limits);
    while let Ok(Some(entry)) = reader.next_entry() {
        assert!(entry.path.len() <= longest && !entry.path.contains(&0));
        let mut size = 0;
        let read = reader.content(|piece| {
            size += piece.len() as u64;
            Ok::<(), ()>(())
        });
        match read {
            Ok(_) => assert_eq!(size, entry.size),
            Err(_) => return,
        }
    }
});
