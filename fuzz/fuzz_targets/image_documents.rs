//! What a registry or an archive says of an image: manifests, indexes, configurations. What is read can be written, and is
//! read again as the same.

#![no_main]

use image_core::{Document, ImageConfig, Platform, candidates, chain_ids, layout};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match Document::parse(bytes, "", "it") {
        Ok(Document::Index(index)) => assert!(candidates(&index, &Platform::host()).len() <= index.manifests.len()),
        Ok(Document::Manifest(manifest)) => {
            let again = Document::parse(&manifest.to_bytes(), "", "it");
            assert!(matches!(again, Ok(Document::Manifest(again)) if again == manifest));
        }
        Err(_) => {}
    }
    if let Ok(config) = ImageConfig::parse(bytes) {
        let chain = chain_ids(&config.rootfs.diff_ids);
        assert_eq!(chain.len(), config.rootfs.diff_ids.len());
        let again = ImageConfig::parse(&config.to_bytes()).expect("what was written");
        assert_eq!(again, config);
    }
    let _ = layout::parse_manifest_json(bytes);
});
