//! `docker export`: the container's root file system as one archive.

use std::io;
use std::path::Path;

use archive::{Marks, TreeOptions, TreeWriter, Visit};
use container_core::State;
use rustix::fs::Stat;
use tokio::sync::OwnedSemaphorePermit;

use crate::error::Error;
use crate::messages;
use crate::record::Container;
use crate::service::Shared;
use crate::tar_stream::TarStream;
use crate::view;

pub(crate) async fn export(
    shared: &Shared,
    container: &Container,
    permit: Option<OwnedSemaphorePermit>,
) -> Result<TarStream, Error> {
    let record = container.record();
    match &record.state {
        State::Dead { .. } => return Err(messages::cannot_use("export", &record.id, "is Dead")),
        State::Removing { .. } => return Err(messages::cannot_use("export", &record.id, "is being removed")),
        _ => {}
    }
    let view = view::open_bare(shared, container).await?;
    shared.publish(&record, "export", &[]);
    Ok(TarStream::spawn(move |out| {
        let _permit = permit;
        let mut writer = TreeWriter::new(out).for_users(view.users().cloned());
        let visit = |_: &Path, _: &Stat| Visit::Whole;
        let options = TreeOptions { name: None, marks: Marks::None, visit: &visit };
        let made = writer.add_tree(view.root(), &options).and_then(|()| writer.finish().map(drop));
        drop(view);
        made.map_err(|error| io::Error::other(errors::chain(&error)))
    }))
}
