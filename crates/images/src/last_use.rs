//! When images were last used: in memory at once, and soon after as a label of the configuration's blob, where a later
//! daemon finds it. An image without the label was last used when it got its name: pulls, loads and builds write nothing
//! of their own.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use ids::Digest;

use crate::error::ImagesError;
use crate::resolve::Found;
use crate::service::{Images, lock};

/// RFC 3339.
const LABEL: &str = "longshore.io/last-used";
/// Uses that follow each other faster are written down once.
const WRITE_INTERVAL: Duration = Duration::from_secs(60);
/// Images whose last use is remembered; above it the written one has to do.
const MAX_REMEMBERED: usize = 4096;

#[derive(Default)]
pub(crate) struct LastUses(Mutex<HashMap<Digest, LastUse>>);

struct LastUse {
    at: SystemTime,
    written: SystemTime,
}

impl LastUses {
    /// Whether this use is to be written down.
    fn note(&self, id: Digest, now: SystemTime) -> bool {
        let mut uses = lock(&self.0);
        if uses.len() >= MAX_REMEMBERED && !uses.contains_key(&id) {
            uses.clear();
        }
        match uses.get_mut(&id) {
            Some(known) => {
                known.at = now;
                let due = now.duration_since(known.written).map_or(true, |passed| passed >= WRITE_INTERVAL);
                if due {
                    known.written = now;
                }
                due
            }
            None => {
                uses.insert(id, LastUse { at: now, written: now });
                true
            }
        }
    }

    fn get(&self, id: &Digest) -> Option<SystemTime> {
        lock(&self.0).get(id).map(|known| known.at)
    }
}

impl Images {
    /// Notes that an image is used now. Nobody waits for it to be written down.
    pub fn note_use(&self, id: Digest) {
        let now = SystemTime::now();
        if !self.shared.last_uses.note(id, now) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (backend, at) = (self.backend.clone(), jiff::Timestamp::try_from(now).unwrap_or_default().to_string());
        runtime.spawn(async move {
            match backend.label_blob(&id, [(LABEL.to_owned(), at)].into()).await {
                Err(error) if !error.is_not_found() => tracing::warn!(image = %id, %error, "last use not written down"),
                _ => {}
            }
        });
    }

    pub(crate) async fn last_use(&self, found: &Found) -> Result<SystemTime, ImagesError> {
        let named = found.records.iter().map(|record| record.updated).max().unwrap_or(SystemTime::UNIX_EPOCH);
        if let Some(noted) = self.shared.last_uses.get(&found.image.id) {
            return Ok(named.max(noted));
        }
        let info = self.backend.blob_info(&found.image.id).await?;
        let written = info.and_then(|info| info.labels.get(LABEL)?.parse::<jiff::Timestamp>().ok());
        let since = written.and_then(|written| u64::try_from(written.as_nanosecond()).ok()).unwrap_or_default();
        Ok(named.max(SystemTime::UNIX_EPOCH + Duration::from_nanos(since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_that_follow_each_other_are_written_once_a_minute() {
        let (uses, id) = (LastUses::default(), Digest::of("x"));
        let after = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert!(uses.note(id, after(100)));
        assert!(!uses.note(id, after(159)));
        assert_eq!(uses.get(&id), Some(after(159)));
        assert!(uses.note(id, after(160)));
        // A clock that was set back.
        assert!(uses.note(id, after(5)));
        assert_eq!((uses.get(&id), uses.get(&Digest::of("y"))), (Some(after(5)), None));
    }
}
