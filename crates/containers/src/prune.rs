//! `docker container prune`: what does not run goes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::Error;
use crate::messages;
use crate::ports::{ContainerEvent, EventSubject};
use crate::record::Record;
use crate::request::{PruneRequest, Pruned, RemoveOptions};
use crate::service::{Shared, now};
use crate::{remove, size};

pub(crate) async fn prune(shared: &Arc<Shared>, request: &PruneRequest) -> Result<Pruned, Error> {
    if shared.pruning.swap(true, Ordering::AcqRel) {
        return Err(messages::prune_running());
    }
    let pruned = prune_all(shared, request).await;
    shared.pruning.store(false, Ordering::Release);
    let pruned = pruned?;
    shared.neighbours.events.publish(ContainerEvent {
        subject: EventSubject::Container,
        action: "prune".to_owned(),
        id: String::new(),
        attributes: [("reclaimed".to_owned(), pruned.reclaimed.to_string())].into(),
        time_ns: now().0,
    });
    Ok(pruned)
}

async fn prune_all(shared: &Arc<Shared>, request: &PruneRequest) -> Result<Pruned, Error> {
    let mut pruned = Pruned::default();
    let all = shared.index().all();
    for container in all.into_iter().filter(|container| is_wanted(&container.record(), request)) {
        let size = size::size_of(shared, &container).await.map(|size| size.on_disk);
        let options = RemoveOptions::default();
        match remove::remove(shared, &container, options).await {
            Ok(()) => {
                pruned.ids.push(container.id.clone());
                pruned.reclaimed = pruned.reclaimed.saturating_add(size.unwrap_or(0));
            }
            // Docker goes on with the others.
            Err(error) => {
                tracing::warn!(container = container.id, error = errors::chain(&error), "cannot prune a container");
            }
        }
    }
    Ok(pruned)
}

fn is_wanted(record: &Record, request: &PruneRequest) -> bool {
    let has = |term: &String| match term.split_once('=') {
        Some((key, value)) => record.config.labels.get(key).is_some_and(|known| known == value),
        None => record.config.labels.contains_key(term),
    };
    !record.state.counts_as_running()
        && request.until.is_none_or(|until| record.created <= until)
        && request.labels.iter().all(has)
        && !(!request.labels_absent.is_empty() && request.labels_absent.iter().all(has))
}

#[cfg(test)]
mod tests {
    use container_core::{Config, Timestamp};

    use super::*;

    fn wanted(request: &PruneRequest) -> bool {
        let mut record = crate::record::tests::record("a", "a");
        record.created = Timestamp(10);
        let labels = [("team".to_owned(), "blue".to_owned())].into();
        record.config = Arc::new(Config { labels, ..Config::default() });
        is_wanted(&record, request)
    }

    fn labelled(labels: &[&str], absent: &[&str]) -> PruneRequest {
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        PruneRequest { labels: list(labels), labels_absent: list(absent), ..PruneRequest::default() }
    }

    #[test]
    fn labels_and_time_choose() {
        assert!(wanted(&PruneRequest::default()));
        assert!(wanted(&labelled(&["team", "team=blue"], &[])));
        assert!(!wanted(&labelled(&["team=red"], &[])));
        assert!(!wanted(&labelled(&[], &["team"])));
        assert!(wanted(&labelled(&[], &["team=red"])));
        assert!(wanted(&PruneRequest { until: Some(Timestamp(10)), ..PruneRequest::default() }));
        assert!(!wanted(&PruneRequest { until: Some(Timestamp(9)), ..PruneRequest::default() }));
    }
}
