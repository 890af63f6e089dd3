//! Solves that were, the last ones, for clients that list them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use buildkit_api::Timestamp;

use crate::error::SolveError;
use crate::job::Counts;
use crate::solve::Exporter;

/// Records that are kept.
const MAX_RECORDS: usize = 50;

/// One solve that is over.
#[derive(Debug, Clone)]
pub struct Record {
    pub reference: String,
    pub frontend: String,
    pub attributes: BTreeMap<String, String>,
    pub exporters: Vec<Exporter>,
    pub created: Timestamp,
    pub completed: Timestamp,
    pub result: Result<BTreeMap<String, String>, SolveError>,
    pub steps: usize,
    pub completed_steps: usize,
    pub cached_steps: usize,
}

impl Record {
    pub(crate) fn count(&mut self, counts: Counts) {
        (self.steps, self.completed_steps, self.cached_steps) = (counts.total, counts.completed, counts.cached);
    }
}

#[derive(Debug, Default)]
pub(crate) struct History(Mutex<VecDeque<Record>>);

impl History {
    pub fn add(&self, record: Record) {
        let mut records = self.lock();
        records.push_front(record);
        records.truncate(MAX_RECORDS);
    }

    /// The newest first.
    pub fn list(&self) -> Vec<Record> {
        self.lock().iter().cloned().collect()
    }

    /// Whether it was there.
    pub fn remove(&self, reference: &str) -> bool {
        let mut records = self.lock();
        let before = records.len();
        records.retain(|record| record.reference != reference);
        records.len() < before
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Record>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
