//! What a daemon that has nothing to do gives back.
//!
//! A daemon's resident memory is mostly code that it ran once: to start, or for a request some time ago. The kernel maps 16
//! pages of text around each that is touched, and takes them back only when memory is short; the allocator keeps what
//! was freed. A thread of [`give_back_when_quiet`] notices that its process has gone quiet and lets go of both. The text stays
//! in the page cache; what is needed again comes back by minor faults, some tenths of a millisecond for a request after a
//! long silence.

use std::ffi::c_void;
use std::time::Duration;

/// How often the thread looks.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A process that used less processor time than this between two looks is quiet.
const QUIET: Duration = Duration::from_millis(4);
/// Work after which there is something to give back.
const WORTH_IT: Duration = Duration::from_millis(8);
const STACK: usize = 64 << 10;
/// What is mapped at once of text that was divided: smaller pieces take more faults, each some microseconds.
const PIECE: usize = 32 << 10;
/// The same of constants, which lie farther apart.
const CONSTANTS_PIECE: usize = 16 << 10;

/// Starts the thread, which lives as long as the process; a process that gets none keeps its memory.
pub fn give_back_when_quiet() {
    let thread = std::thread::Builder::new().name("thrift".to_owned()).stack_size(STACK);
    let mut thrift = Thrift::default();
    let _ = thread.spawn(move || {
        loop {
            std::thread::sleep(LOOK_EVERY);
            thrift.look();
        }
    });
}

/// Decides, from the processor time that the process has used, when to give back.
#[derive(Debug, Default)]
struct Thrift {
    looked: Duration,
    given_back: Duration,
}

impl Thrift {
    fn look(&mut self) {
        if self.is_due(processor_time()) {
            give_back();
            self.given_back = processor_time();
        }
    }

    fn is_due(&mut self, used: Duration) -> bool {
        let since = std::mem::replace(&mut self.looked, used);
        used.saturating_sub(since) < QUIET && used.saturating_sub(self.given_back) >= WORTH_IT
    }
}

/// CLOCK_PROCESS_CPUTIME_ID of clock_gettime(2).
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// Freed heap goes back to the kernel, and the pages of text are unmapped until they are touched again.
pub fn give_back() {
    // SAFETY: malloc_trim(3) takes no pointers and may be called by any thread.
    unsafe { libc::malloc_trim(0) };
    give_back_text();
}

/// The pages of text alone: for a program that has done its larger part and will not need most of them again.
pub fn give_back_text() {
    // SAFETY: the callback has the signature that dl_iterate_phdr(3) documents and uses no data.
    unsafe { libc::dl_iterate_phdr(Some(unmap_text), std::ptr::null_mut()) };
}

/// Takes so much memory for the heap at once, which costs one call, and not a fault for each page of it.
pub fn take_heap(bytes: usize) {
    let limit = libc::c_int::try_from(2 * bytes).unwrap_or(libc::c_int::MAX);
    // SAFETY: mallopt(3) takes no pointers. What malloc(3) answers is freed and not read; the advice (madvise(2), since
    // Linux 5.14) has the pages there, zero, as the first write to each would.
    unsafe {
        // From the heap, which keeps it.
        libc::mallopt(libc::M_MMAP_THRESHOLD, limit);
        libc::mallopt(libc::M_TRIM_THRESHOLD, limit);
        let taken = libc::malloc(bytes);
        let page = rustix::param::page_size();
        let first = (taken as usize).next_multiple_of(page);
        libc::madvise(first as *mut c_void, bytes - page, libc::MADV_POPULATE_WRITE);
        libc::free(taken);
    }
}

/// Lets the kernel map text in pieces of [`PIECE`] from now on, and gives back what is mapped. A file that lies in the page
/// cache in large folios is otherwise mapped a folio at once, a megabyte around one function that was called.
pub fn map_text_in_pieces() {
    // SAFETY: the callback has the signature that dl_iterate_phdr(3) documents and uses no data.
    unsafe { libc::dl_iterate_phdr(Some(divide_text), std::ptr::null_mut()) };
    give_back_text();
}

unsafe extern "C" fn divide_text(object: *mut libc::dl_phdr_info, _size: usize, _data: *mut c_void) -> libc::c_int {
    // SAFETY: dl_iterate_phdr(3) passes a valid structure for the time of the call.
    for Segment { first, last, is_executable } in unsafe { text_of(object) } {
        let piece = if is_executable { PIECE } else { CONSTANTS_PIECE };
        // Every other piece is one of its own to the kernel: a mapping ends where its flags do.
        for begin in (first.next_multiple_of(piece)..last).step_by(2 * piece) {
            let length = piece.min(last - begin);
            // SAFETY: the range lies in a segment of this program; the advice concerns core dumps alone (madvise(2)).
            unsafe { libc::madvise(begin as *mut c_void, length, libc::MADV_DONTDUMP) };
        }
    }
    0
}

unsafe extern "C" fn unmap_text(object: *mut libc::dl_phdr_info, _size: usize, _data: *mut c_void) -> libc::c_int {
    // SAFETY: dl_iterate_phdr(3) passes a valid structure for the time of the call.
    for Segment { first, last, .. } in unsafe { text_of(object) } {
        // SAFETY: the segment is a private mapping of the file that was never writable, so every page of it can be read
        // from the file again at any time (madvise(2), MADV_DONTNEED); threads that run in it fault and go on.
        unsafe { libc::madvise(first as *mut c_void, last - first, libc::MADV_DONTNEED) };
    }
    0
}

/// The pages of a part of a program that cannot be written.
struct Segment {
    first: usize,
    /// Behind its last byte.
    last: usize,
    is_executable: bool,
}

/// The segments of an object that cannot be written.
///
/// # Safety
/// `object` is what dl_iterate_phdr(3) has passed, and its call has not returned.
unsafe fn text_of(object: *mut libc::dl_phdr_info) -> impl Iterator<Item = Segment> {
    // SAFETY: see above.
    let object = unsafe { &*object };
    // SAFETY: the structure says where its program headers are and how many; they are mapped as long as the object is.
    let headers = unsafe { std::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum)) };
    let text = headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0);
    text.map(|header| {
        let page = rustix::param::page_size();
        let begin = object.dlpi_addr as usize + header.p_vaddr as usize;
        Segment {
            first: begin / page * page,
            last: (begin + header.p_memsz as usize).next_multiple_of(page),
            is_executable: header.p_flags & libc::PF_X != 0,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_that_worked_and_is_quiet_now_gives_back() {
        let mut thrift = Thrift::default();
        let at = Duration::from_millis;
        assert!(!thrift.is_due(at(60)), "it has just worked");
        assert!(thrift.is_due(at(61)));
        thrift.given_back = at(61);
        assert!(!thrift.is_due(at(62)), "nothing has happened since");
        assert!(!thrift.is_due(at(100)), "it works again");
        assert!(thrift.is_due(at(101)));
    }

    #[test]
    fn the_text_is_unmapped_and_the_program_runs_on() {
        let resident = || -> u64 {
            let text = std::fs::read_to_string("/proc/self/status").expect("status");
            let line = text.lines().find(|line| line.starts_with("RssFile")).expect("RssFile");
            line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("number")
        };
        let words: Vec<String> = (0..10_000).map(|number| format!("{number:>32}")).collect();
        let before = resident();
        drop(words);
        give_back();
        let after = resident();
        assert!(after < before, "{before} kB of files mapped before, {after} after");
    }

    #[test]
    fn a_heap_that_was_taken_is_there_without_a_fault() {
        take_heap(192 << 10);
        let faults = || -> u64 {
            let stat = std::fs::read_to_string("/proc/self/stat").expect("stat");
            // proc(5): minflt is the tenth field, the seventh behind the name.
            let fields = stat.rsplit_once(") ").expect("a name").1;
            fields.split(' ').nth(7).and_then(|number| number.parse().ok()).expect("minflt")
        };
        let before = faults();
        let mut used = vec![0_u8; 128 << 10];
        used.fill(1);
        assert!(faults() - before < 8, "{} faults for {} bytes", faults() - before, used.len());
    }

    #[test]
    fn divided_text_is_mapped_piece_by_piece() {
        map_text_in_pieces();
        let maps = std::fs::read_to_string("/proc/self/maps").expect("maps");
        let own = std::env::current_exe().expect("this program").display().to_string();
        let text = maps.lines().filter(|line| line.ends_with(&own) && line.contains("r-xp"));
        let bounds = text.filter_map(|line| line.split(' ').next()?.split_once('-'));
        let length = |(from, to): (&str, &str)| -> usize {
            let address = |text| usize::from_str_radix(text, 16).expect("an address");
            address(to) - address(from)
        };
        let lengths: Vec<usize> = bounds.map(length).collect();
        assert!(lengths.len() > 2 && lengths.iter().all(|length| *length <= PIECE), "{lengths:?}");
    }
}
