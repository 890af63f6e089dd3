//! The limit of the image store: while images take more, those go that were not used for the longest time.
//!
//! An image that a container was made of stays, running or not; so do one that a pull under way is about, one that a build
//! began on within the last hour, those that were used a moment ago, and the one that was used last. What goes gives space
//! back: an image whose every part others need stays as well. The decision is a pure function.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use ids::Digest;
use tokio::sync::Notify;

use crate::backend::Collect;
use crate::error::ImagesError;
use crate::lease::pull_word;
use crate::remove::Removed;
use crate::resolve::{ById, Found};
use crate::service::{Images, lock};

/// Who has just pulled an image is about to use it.
const SETTLING: Duration = Duration::from_secs(10);
/// So long a build may go on with an image that it began on.
const BUILDING: Duration = Duration::from_secs(3600);
/// Bases of builds that are remembered.
const MAX_BASES: usize = 4096;
/// Ends of uses that wait for a look; above it only the beginning of a use counts.
const MAX_FREED: usize = 1024;
/// How long a look waits for the store after an error.
const RETRY: Duration = Duration::from_secs(60);

/// The limit, and what makes the store be looked at.
#[derive(Default)]
pub(crate) struct Limit {
    /// 0 is none.
    bytes: AtomicU64,
    changed: Notify,
    /// When builds began on images last: nothing says when such a build has ended.
    bases: Mutex<HashMap<Digest, SystemTime>>,
    /// Names of images whose containers went since the last look.
    freed: Mutex<Vec<String>>,
}

impl Limit {
    pub fn set(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// A build begins on this image.
    pub fn note_base(&self, id: Digest) {
        let now = SystemTime::now();
        let mut bases = lock(&self.bases);
        if bases.len() >= MAX_BASES {
            bases.retain(|_, since| is_recent(*since, now, BUILDING));
        }
        bases.insert(id, now);
    }

    fn is_base(&self, id: &Digest, now: SystemTime) -> bool {
        lock(&self.bases).get(id).is_some_and(|since| is_recent(*since, now, BUILDING))
    }

    /// Something may have grown, or become free to go.
    pub fn look(&self) {
        if self.bytes.load(Ordering::Relaxed) > 0 {
            self.changed.notify_one();
        }
    }
}

/// A part of an image on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Part {
    Blob(Digest),
    Layer(Digest),
}

/// An image, as the decision sees it.
#[derive(Debug)]
struct Held {
    id: Digest,
    last_use: SystemTime,
    stays: bool,
    parts: BTreeMap<Part, u64>,
}

impl Images {
    /// A container that was made of this image is gone.
    pub fn note_end_of_use(&self, name: &str) {
        let limit = &self.shared.limit;
        if limit.bytes.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut freed = lock(&limit.freed);
        if freed.len() < MAX_FREED {
            freed.push(name.to_owned());
        }
        limit.changed.notify_one();
    }

    /// Keeps the store within its limit for as long as it is awaited; it never returns.
    pub async fn keep_within_limit(&self) {
        loop {
            let freed = std::mem::take(&mut *lock(&self.shared.limit.freed));
            for name in freed {
                if let Ok(id) = self.id_of(&name).await {
                    self.note_use(id);
                }
            }
            let again = match self.enforce_limit().await {
                Ok(again) => again,
                Err(error) => {
                    tracing::warn!(%error, "cannot compare the image store with its limit");
                    Some(RETRY)
                }
            };
            let changed = self.shared.limit.changed.notified();
            match again {
                // What only has to settle goes when it has.
                Some(wait) => drop(tokio::time::timeout(wait, changed).await),
                None => changed.await,
            }
        }
    }

    /// Removes what has to go; when to look again if something stays for the moment only.
    async fn enforce_limit(&self) -> Result<Option<Duration>, ImagesError> {
        let limit = self.shared.limit.bytes.load(Ordering::Relaxed);
        if limit == 0 {
            return Ok(None);
        }
        let now = SystemTime::now();
        let settled = now.checked_sub(SETTLING).unwrap_or(SystemTime::UNIX_EPOCH);
        let held = self.held(&self.all().await?, now).await?;
        let total = total(&held);
        if total <= limit {
            return Ok(None);
        }
        let going = choose(&held, limit);
        for (id, bytes) in &going {
            self.evict(id, *bytes, total, limit).await;
        }
        let left = total - going.iter().map(|(_, bytes)| bytes).sum::<u64>();
        let settling = held.iter().any(|image| image.stays && image.last_use > settled);
        Ok((left > limit && settling).then_some(SETTLING))
    }

    async fn held(&self, all: &ById, now: SystemTime) -> Result<Vec<Held>, ImagesError> {
        let sizes = self.backend.blob_sizes().await?;
        let pulls = self.backend.lease_ids().await?;
        let mut held = Vec::with_capacity(all.len());
        for found in all.values() {
            let holdings = self.holdings(std::iter::once(found), &sizes).await?;
            let mut parts: BTreeMap<Part, u64> = holdings
                .blobs
                .iter()
                .map(|(digest, size)| (Part::Blob(*digest), crate::holdings::on_disk(*size)))
                .collect();
            for chain in holdings.chains {
                parts.insert(Part::Layer(chain), self.layer_bytes(&chain).await?);
            }
            let last_use = self.last_use(found).await?;
            let stays = is_recent(last_use, now, SETTLING)
                || self.shared.limit.is_base(&found.image.id, now)
                || !self.shared.users.users_of(&found.image.id).is_empty()
                || is_being_pulled(found, &pulls);
            held.push(Held { id: found.image.id, last_use, stays, parts });
        }
        if let Some(last) = held.iter_mut().max_by_key(|image| image.last_use) {
            last.stays = true;
        }
        Ok(held)
    }

    async fn evict(&self, id: &Digest, bytes: u64, total: u64, limit: u64) {
        match self.remove_unused(id, Collect::Now).await {
            Ok(removed) => {
                let name = removed.iter().find_map(|line| match line {
                    Removed::Untagged(name) => Some(name.as_str()),
                    Removed::Deleted(_) => None,
                });
                let name = name.unwrap_or("<none>");
                tracing::info!(image = %id, name, bytes, total, limit, "image evicted: the store is over its limit");
            }
            Err(error) => tracing::warn!(image = %id, %error, "image not evicted"),
        }
    }
}

/// A clock that was set back makes things recent: they stay.
fn is_recent(at: SystemTime, now: SystemTime, period: Duration) -> bool {
    now.duration_since(at).map_or(true, |passed| passed < period)
}

/// Whether a pull that is under way, or that broke off and may be gone on with, has one of its names.
fn is_being_pulled(found: &Found, leases: &[String]) -> bool {
    found.records.iter().any(|record| {
        let word = pull_word(&record.name);
        leases.iter().any(|lease| lease.contains(&word))
    })
}

fn total(held: &[Held]) -> u64 {
    let parts: HashMap<Part, u64> =
        held.iter().flat_map(|image| image.parts.iter().map(|(part, size)| (*part, *size))).collect();
    parts.values().sum()
}

/// Who goes, and what each gives back: the longest unused first, until the rest is within the limit.
fn choose(held: &[Held], limit: u64) -> Vec<(Digest, u64)> {
    let mut owners: HashMap<Part, usize> = HashMap::new();
    for part in held.iter().flat_map(|image| image.parts.keys()) {
        *owners.entry(*part).or_default() += 1;
    }
    let mut total = total(held);
    let mut candidates: Vec<&Held> = held.iter().filter(|image| !image.stays).collect();
    candidates.sort_by_key(|image| (image.last_use, image.id));
    let mut going: Vec<&Held> = Vec::new();
    for image in candidates {
        if total <= limit {
            break;
        }
        for (part, size) in &image.parts {
            let left = owners.entry(*part).or_default();
            *left -= 1;
            total -= if *left == 0 { *size } else { 0 };
        }
        going.push(image);
    }
    // Whose every part somebody else keeps may as well stay, and keeps them, too.
    let mut gone: Vec<&Held> = Vec::new();
    for image in going.into_iter().rev() {
        if image.parts.keys().all(|part| owners[part] > 0) {
            image.parts.keys().for_each(|part| *owners.entry(*part).or_default() += 1);
        } else {
            gone.push(image);
        }
    }
    let mut counted = HashSet::new();
    let mut freed = |image: &Held| {
        let parts = image.parts.iter().filter(|(part, _)| owners[part] == 0 && counted.insert(**part));
        parts.map(|(_, size)| size).sum()
    };
    gone.into_iter().rev().map(|image| (image.id, freed(image))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By name, seconds of the last use, and parts with their bytes.
    fn image(name: &str, used: u64, stays: bool, parts: &[(&str, u64)]) -> Held {
        Held {
            id: Digest::of(name),
            last_use: SystemTime::UNIX_EPOCH + Duration::from_secs(used),
            stays,
            parts: parts.iter().map(|(part, size)| (Part::Layer(Digest::of(part)), *size)).collect(),
        }
    }

    fn ids(names: &[(&str, u64)]) -> Vec<(Digest, u64)> {
        names.iter().map(|(name, bytes)| (Digest::of(name), *bytes)).collect()
    }

    #[test]
    fn the_longest_unused_go_until_the_rest_is_within_the_limit() {
        let held = [
            image("new", 9, false, &[("n", 10)]),
            image("old", 1, false, &[("o", 10)]),
            image("middle", 5, false, &[("m", 10)]),
        ];
        assert_eq!(total(&held), 30);
        assert_eq!(choose(&held, 30), []);
        assert_eq!(choose(&held, 29), ids(&[("old", 10)]));
        assert_eq!(choose(&held, 10), ids(&[("old", 10), ("middle", 10)]));
    }

    #[test]
    fn what_is_in_use_stays_however_old_it_is() {
        let held = [image("used", 1, true, &[("u", 50)]), image("free", 5, false, &[("f", 10)])];
        assert_eq!(choose(&held, 5), ids(&[("free", 10)]));
    }

    #[test]
    fn what_would_give_nothing_back_stays() {
        let base = || image("base", 1, false, &[("b", 40)]);
        let held = [base(), image("child", 2, true, &[("b", 40), ("c", 5)]), image("other", 3, false, &[("x", 10)])];
        assert_eq!(choose(&held, 50), ids(&[("other", 10)]));
        // Two that share everything go together or not at all, and what they share is counted once.
        let held = [image("one", 1, false, &[("s", 30)]), image("two", 2, false, &[("s", 30), ("t", 1)])];
        let gone = choose(&held, 10);
        assert_eq!(gone.iter().map(|(_, bytes)| bytes).sum::<u64>(), 31);
    }
}
