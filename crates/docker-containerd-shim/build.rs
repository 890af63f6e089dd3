//! Programs that this one starts in a folder are started by vfork, not by a copy of all page tables.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // std::process::Command looks for this function by a weak reference, which takes nothing out of a static C library.
    println!("cargo::rustc-link-arg-bins=-Wl,--undefined=posix_spawn_file_actions_addchdir_np");
}
