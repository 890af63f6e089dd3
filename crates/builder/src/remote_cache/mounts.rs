//! What cache mounts hold, as an archive.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archive::{Compressor, ExtractOptions, Limits, Marks, TreeOptions, TreeWriter, Visit, extract};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use ids::Hasher;
use registry_client::BlobSource;
use rustix::fs::{Mode, OFlags};
use tokio::sync::mpsc;

use super::ImportedMount;
use crate::builder::{BuilderConfig, blocking};
use crate::context::{incoming, spool};
use crate::error::BuildError;
use crate::ports::LayerStream;

/// Bytes that are read at a time.
const PIECE: usize = 256 << 10;
/// Pieces on their way.
const QUEUE: usize = 4;

/// Where a cache mount is kept.
pub(crate) fn folder(config: &BuilderConfig, name: &str) -> PathBuf {
    config.folder.join("caches").join(name)
}

/// The folder as a compressed archive; `None` where it is not there.
pub(super) async fn pack(name: &str, config: &BuilderConfig) -> Result<Option<BlobSource>, BuildError> {
    let failed = |error: io::Error| BuildError::file("pack a cache of RUN", error);
    let (folder, spool_folder, users) = (folder(config, name), config.folder.join("tmp"), config.users.clone());
    let packed = blocking(move || {
        let root = match open(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            root => root?,
        };
        // Owners travel as containers see them.
        let mut writer = TreeWriter::new(Compressor::new(spool(&spool_folder)?)).for_users(users);
        let options = TreeOptions { name: Some(b"./".to_vec()), marks: Marks::None, visit: &|_, _| Visit::Whole };
        let told = |error: archive::ArchiveError| io::Error::other(errors::chain(&error));
        writer.add_tree(root.as_fd(), &options).map_err(told)?;
        let (mut file, digests) = writer.finish().map_err(told)?.finish()?;
        file.flush()?;
        Ok(Some((file, digests)))
    });
    let Some((file, digests)) = packed.await?.map_err(failed)? else { return Ok(None) };
    let file = Arc::new(file);
    let open = move |offset| pieces(Arc::clone(&file), offset);
    let (digest, size) = (digests.compressed, digests.compressed_size);
    Ok(Some(BlobSource { digest, size, open: Arc::new(open), progress: Arc::new(|_| {}) }))
}

fn open(folder: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(folder, flags, Mode::empty())?))
}

fn pieces(file: Arc<File>, offset: u64) -> LayerStream {
    Box::pin(stream::unfold((file, offset), |(file, offset)| async move {
        let read = Arc::clone(&file);
        let piece = blocking(move || {
            let mut buffer = vec![0; PIECE];
            let length = read.read_at(&mut buffer, offset)?;
            buffer.truncate(length);
            Ok::<_, io::Error>(Bytes::from(buffer))
        });
        match piece.await.map_err(io::Error::other).flatten() {
            Ok(piece) if piece.is_empty() => None,
            Ok(piece) => {
                let next = offset + piece.len() as u64;
                Some((Ok(piece), (file, next)))
            }
            Err(error) => Some((Err(error), (file, offset))),
        }
    }))
}

/// Fills a new folder with what another engine's mount held. It is there in whole or not at all.
pub(crate) async fn unpack(mount: &ImportedMount, folder: &Path, config: &BuilderConfig) -> Result<(), BuildError> {
    let failed = |error: io::Error| BuildError::file("unpack a cache of RUN", error);
    let mut stream = mount.read().await?;
    let (sender, received) = mpsc::channel(QUEUE);
    let feed = async move {
        while let Some(piece) = stream.next().await {
            if sender.send(piece).await.is_err() {
                return;
            }
        }
    };
    let (digest, folder) = (mount.blob.digest, folder.to_owned());
    let (spool_folder, users) = (config.folder.join("tmp"), config.users.clone());
    let work = blocking(move || {
        // Verified before anything of it is looked at.
        let (mut file, mut hasher) = (spool(&spool_folder)?, Hasher::new());
        let (mut source, mut buffer) = (incoming(received), vec![0; PIECE]);
        loop {
            match source.read(&mut buffer)? {
                0 => break,
                length => {
                    hasher.update(&buffer[..length]);
                    file.write_all(&buffer[..length])?;
                }
            }
        }
        if hasher.finish() != digest {
            return Err(io::Error::other(format!("the archive is not {digest}")));
        }
        file.rewind()?;
        let fresh = folder.with_extension("new");
        match std::fs::remove_dir_all(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => std::fs::create_dir_all(&fresh)?,
        }
        let options = ExtractOptions { limits: Limits::default(), users, ..ExtractOptions::default() };
        let told = |error: archive::ArchiveError| io::Error::other(errors::chain(&error));
        extract(file, open(&fresh)?.as_fd(), Path::new("/"), &options).map_err(told)?;
        match std::fs::rename(&fresh, &folder) {
            // Another build was faster.
            Err(error) if folder.exists() => {
                tracing::debug!(%error, "a cache of RUN is there already");
                std::fs::remove_dir_all(&fresh)
            }
            done => done,
        }
    });
    let ((), done) = tokio::join!(feed, work);
    done?.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct OneBlob(BlobSource);

    impl std::fmt::Debug for OneBlob {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "OneBlob({})", self.0.digest)
        }
    }

    #[async_trait::async_trait]
    impl crate::remote_cache::CacheStore for OneBlob {
        async fn manifest(&self) -> Result<(String, Bytes), crate::ports::PortError> {
            unreachable!("nobody asks")
        }

        async fn read(&self, _: &image_core::Descriptor) -> Result<LayerStream, crate::ports::PortError> {
            Ok((self.0.open)(0))
        }

        async fn write(&self, _: &BlobSource) -> Result<(), crate::ports::PortError> {
            unreachable!("nobody writes")
        }

        async fn finish(&self, _: &str, _: Bytes) -> Result<(), crate::ports::PortError> {
            unreachable!("nobody writes")
        }
    }

    #[tokio::test]
    async fn a_mount_comes_back_as_it_was_and_nothing_of_what_is_wrong() {
        let place = tempfile::tempdir().unwrap();
        let config = BuilderConfig { folder: place.path().to_owned(), ..BuilderConfig::default() };
        let (from, to) = (folder(&config, "from"), folder(&config, "to"));
        std::fs::create_dir_all(from.join("deep")).unwrap();
        std::fs::write(from.join("deep/file"), "kept").unwrap();
        assert!(pack("nothing", &config).await.unwrap().is_none());
        let blob = pack("from", &config).await.unwrap().unwrap();
        let described = image_core::Descriptor::new("", blob.digest, blob.size);
        let wrong = image_core::Descriptor::new("", ids::Digest::of("other"), blob.size);
        let store: Arc<dyn crate::remote_cache::CacheStore> = Arc::new(OneBlob(blob));
        let bad = ImportedMount { blob: wrong, store: Arc::clone(&store) };
        assert!(unpack(&bad, &to, &config).await.is_err());
        assert!(!to.exists(), "nothing of an archive that is another one");
        unpack(&ImportedMount { blob: described, store }, &to, &config).await.unwrap();
        assert_eq!(std::fs::read_to_string(to.join("deep/file")).unwrap(), "kept");
    }
}
