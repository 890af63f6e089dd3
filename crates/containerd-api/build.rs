//! Compiles `proto/` with protox (no protoc needed): messages always, clients and servers with the feature `grpc`.

use std::env;
use std::path::{Path, PathBuf};

use tonic_prost_build::Config;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new("proto");
    println!("cargo::rerun-if-changed=proto");
    let files = proto_files(root)?;
    let descriptors = protox::compile(&files, [root])?;
    let grpc = env::var_os("CARGO_FEATURE_GRPC").is_some();
    let mut config = Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        .build_client(grpc)
        .build_server(grpc)
        .build_transport(false)
        .bytes(".containerd.services.content.v1")
        .include_file("packages.rs")
        .compile_fds_with_config(descriptors, config)?;
    Ok(())
}

/// Every file below `root`, sorted, so that the generated code does not depend on the order of a directory.
fn proto_files(root: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "proto") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}
