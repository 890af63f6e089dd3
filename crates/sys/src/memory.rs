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

unsafe extern "C" fn unmap_text(object: *mut libc::dl_phdr_info, _size: usize, _data: *mut c_void) -> libc::c_int {
    // SAFETY: dl_iterate_phdr(3) passes a valid structure for the time of the call.
    let object = unsafe { &*object };
    // SAFETY: the structure says where its program headers are and how many; they are mapped as long as the object is.
    let headers = unsafe { std::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum)) };
    for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0) {
        let page = rustix::param::page_size();
        let begin = object.dlpi_addr as usize + header.p_vaddr as usize;
        let (first, last) = (begin / page * page, (begin + header.p_memsz as usize).next_multiple_of(page));
        // SAFETY: the segment is a private mapping of the file that was never writable, so every page of it can be read
        // from the file again at any time (madvise(2), MADV_DONTNEED); threads that run in it fault and go on.
        unsafe { libc::madvise(first as *mut c_void, last - first, libc::MADV_DONTNEED) };
    }
    0
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
}
