//! Compiles `proto/` with protox (no protoc needed).

use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new("proto");
    println!("cargo::rerun-if-changed=proto");
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<PathBuf> =
            std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
        // The generated code does not depend on the order of a directory.
        entries.sort();
        let (inner, found) = entries.into_iter().partition::<Vec<_>, _>(|path| path.is_dir());
        folders.extend(inner);
        files.extend(found);
    }
    let descriptors = protox::compile(&files, [root])?;
    tonic_prost_build::configure()
        .build_transport(false)
        .bytes(".fsutil.types.Packet")
        .bytes(".moby.filesync.v1.BytesMessage")
        .bytes(".moby.sshforward.v1.BytesMessage")
        .bytes(".moby.upload.v1.BytesMessage")
        .include_file("packages.rs")
        .compile_fds(descriptors)?;
    Ok(())
}
