//! Plain layers of an archive, compressed for who asks for that.

use std::io;

use archive::Compressor;
use content::WriteRequest;
use errors::{ErrorKind, Kind};
use ids::Digest;
use image_core::{Descriptor, media_type};
use metadata::Labels;
use supervisor::contents::Write;

use crate::Task;
use crate::error::TransferError;
use crate::unpack::{UNCOMPRESSED, random_hex};

impl Task<'_> {
    /// The same layer, compressed, beside the plain one.
    pub(crate) async fn compress(&self, plain: Digest) -> Result<Descriptor, TransferError> {
        let contents = &self.services.contents;
        let reference = format!("compress-{}", random_hex());
        let request = WriteRequest { reference, leased: true, ..WriteRequest::default() };
        let write = contents.write(self.scope.clone(), request).await?;
        let mut source = contents.reader(&self.scope.namespace, &plain)?.into_file();
        let compressing = tokio::task::spawn_blocking(move || {
            let mut compressor = Compressor::new(Target(write));
            io::copy(&mut source, &mut compressor)?;
            compressor.finish()
        });
        let (Target(write), digests) =
            compressing.await.map_err(|_| TransferError::GivenUp)?.map_err(TransferError::Read)?;
        let labels = Labels::from([(UNCOMPRESSED.to_owned(), plain.to_string())]);
        match write.commit(Some(digests.compressed_size), Some(digests.compressed), labels).await {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error.into()),
            _ => Ok(Descriptor::new(media_type::OCI_LAYER_GZIP, digests.compressed, digests.compressed_size)),
        }
    }
}

struct Target(Write);

impl io::Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_at(None, bytes).map_err(|error| io::Error::other(errors::chain(&error)))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
