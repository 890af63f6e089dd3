//! Where a container's output goes: the file that its pump keeps, and the driver that ships it from there.

use std::sync::Arc;
use std::time::Duration;

use container_core::LogConfig;
use log_drivers::{Dialled, Info, LocalLog};

use crate::error::Error;
use crate::record::{Container, Record};
use crate::service::Shared;
use crate::{files, messages};

/// How long a removal waits for what is still to be shipped, as Docker waits for its loggers.
const SHIP_LIMIT: Duration = Duration::from_secs(10);

/// A container's driver, ready for a start.
pub(crate) struct Logging {
    /// `None`: nothing is kept.
    pub file: Option<LocalLog>,
    dialled: Option<Dialled>,
}

/// Takes the daemon's defaults over into a new container's choice, and looks at the options.
pub(crate) fn complete(chosen: &mut LogConfig, defaults: &LogConfig) -> Result<(), Error> {
    let default_driver = if defaults.driver.is_empty() { "json-file" } else { &defaults.driver };
    if chosen.driver.is_empty() {
        default_driver.clone_into(&mut chosen.driver);
    }
    log_drivers::with_defaults(&chosen.driver, &mut chosen.options, default_driver, &defaults.options);
    Ok(log_drivers::validate(&chosen.driver, &chosen.options)?)
}

/// The daemon's own choice, before it serves anyone.
pub(crate) fn check_defaults(defaults: &LogConfig) -> Result<(), Error> {
    let driver = if defaults.driver.is_empty() { "json-file" } else { &defaults.driver };
    log_drivers::validate(driver, &defaults.options).map_err(|error| messages::bad_log_defaults(&error.to_string()))
}

/// Opens a container's driver; a receiver that is not there fails the start, as in Docker.
pub(crate) async fn prepare(shared: &Shared, record: &Record) -> Result<Logging, Error> {
    let driver = &record.host_config.log_config.driver;
    let info = info(record);
    let failed = |error: log_drivers::Error| messages::logging_failed(&error.to_string());
    let folder = shared.settings.container_folder(&record.id);
    let file = log_drivers::local_log(driver, &info, &folder).map_err(failed)?;
    if let Some(own_folder) = file.as_ref().and_then(|file| file.path.parent()) {
        files::make_folder(own_folder)?;
    }
    let dialled = Dialled::dial(driver, &info).await.map_err(failed)?;
    Ok(Logging { file, dialled })
}

impl Logging {
    /// The pump is there: what it keeps is shipped from now on.
    pub async fn begin(self, shared: &Shared, id: &str) -> Result<(), Error> {
        let (Some(file), Some(dialled)) = (self.file, self.dialled) else { return Ok(()) };
        let started = shared.shipping.start(id, dialled, &file.path).await;
        started.map_err(|source| Error::file("ship", &file.path, source))
    }
}

/// A daemon that comes up ships on: the logs of what runs, and what was left of those that have ended.
pub(crate) async fn resume(shared: &Arc<Shared>, container: &Arc<Container>) {
    let record = container.record();
    let driver = &record.host_config.log_config.driver;
    if !log_drivers::ships(driver) {
        return;
    }
    let path = log_drivers::log_path(driver, &record.id, &shared.settings.container_folder(&record.id));
    let resumed = async {
        let is_wanted = record.state.has_process() || logs::has_unshipped(&path)?;
        let Some(dialled) = Dialled::prepare(driver, &info(&record)).map_err(std::io::Error::other)? else {
            return Ok(());
        };
        match (is_wanted, record.state.has_process()) {
            (false, _) => Ok(()),
            (true, true) => shared.shipping.start(&record.id, dialled, &path).await,
            (true, false) => shared.shipping.finish_later(&record.id, dialled, &path),
        }
    };
    if let Err(error) = resumed.await {
        let error = errors::chain(&error);
        tracing::warn!(container = record.id, error, "cannot go on shipping a container's log");
    }
}

/// The log is about to be removed: what is left of it is shipped first, if that does not take too long.
pub(crate) async fn finish(shared: &Shared, id: &str) {
    shared.shipping.finish(id, SHIP_LIMIT).await;
}

fn info(record: &Record) -> Info {
    let mut words = crate::containers::arguments(record).into_iter();
    Info {
        options: record.host_config.log_config.options.clone(),
        container_id: record.id.clone(),
        name: record.name.clone(),
        entrypoint: words.next().unwrap_or_default(),
        args: words.collect(),
        image_id: record.image_id.clone(),
        image_name: record.config.image.clone(),
        created: logs::Timestamp { seconds: record.created.seconds(), nanos: record.created.nanos() },
        env: record.config.env.clone(),
        labels: record.config.labels.clone(),
    }
}
