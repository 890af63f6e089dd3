//! The words that Docker's users know, each in one place.

use errors::ErrorKind;

use crate::error::Error;

fn refuse(kind: ErrorKind, message: String) -> Error {
    Error::Refused { kind, message }
}

pub(crate) fn no_such_volume(operation: &str, name: &str) -> Error {
    refuse(ErrorKind::NotFound, format!("{operation} {name}: no such volume"))
}

pub(crate) fn in_use(name: &str, users: impl IntoIterator<Item = String>) -> Error {
    let users: Vec<String> = users.into_iter().collect();
    refuse(ErrorKind::Conflict, format!("remove {name}: volume is in use - [{}]", users.join(", ")))
}

pub(crate) fn other_driver(name: &str, driver: &str) -> Error {
    let message = format!("create {name}: driver '{driver}' already has volume '{name}': volume name must be unique");
    refuse(ErrorKind::Conflict, message)
}

pub(crate) fn unchecked(name: &str, driver: &str, why: &str) -> Error {
    let message = format!(
        "create {name}: found reference to volume '{name}' in driver '{driver}', but got an error while checking the driver: \
         {why}: volume name must be unique"
    );
    refuse(ErrorKind::Conflict, message)
}

pub(crate) fn lost(name: &str, driver: &str) -> Error {
    let message = format!(
        "create {name}: found references to volume '{name}' in driver '{driver}' but the volume was not found in the driver -- \
         you may need to remove containers referencing this volume or force remove the volume to re-create it: volume name \
         must be unique"
    );
    refuse(ErrorKind::Conflict, message)
}

pub(crate) fn prune_running() -> Error {
    refuse(ErrorKind::Conflict, "a prune operation is already running".to_owned())
}
