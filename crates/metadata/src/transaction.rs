//! Transactions: a reader's snapshot, and a writer's changes over the batch it is part of.

use std::iter::Peekable;
use std::ops::{Bound, ControlFlow};

use redb::{ReadOnlyTable, ReadableTable, TableDefinition};

use crate::Error;
use crate::journal::Changes;

/// All records: the name of their table, a zero byte, their key.
pub(crate) const RECORDS: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("records");

/// Called for each record with full key and value.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, Error> + 'a;

/// Reading, from a snapshot or from within a write. [`crate::Table`] is the way to use it.
pub trait Read {
    /// The value under a full key.
    fn get_record(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error>;

    /// Every record whose full key begins with `prefix`, in order of the keys.
    fn visit_records(&self, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), Error>;
}

/// The database as it was when this was made.
pub struct ReadTx {
    pub(crate) records: ReadOnlyTable<&'static [u8], &'static [u8]>,
}

/// Changes in the making; they are seen by this transaction's own reads.
pub struct WriteTx<'a> {
    pub(crate) base: &'a redb::Table<'a, &'static [u8], &'static [u8]>,
    pub(crate) changes: Changes,
}

impl WriteTx<'_> {
    pub(crate) fn put_record(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.changes.insert(key, Some(value));
    }

    pub(crate) fn delete_record(&mut self, key: Vec<u8>) {
        self.changes.insert(key, None);
    }
}

impl Read for ReadTx {
    fn get_record(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let found = self.records.get(key).map_err(Error::read)?;
        Ok(found.map(|value| value.value().to_vec()))
    }

    fn visit_records(&self, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), Error> {
        merge(&self.records, &Changes::new(), prefix, visit)
    }
}

impl Read for WriteTx<'_> {
    fn get_record(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        if let Some(change) = self.changes.get(key) {
            return Ok(change.clone());
        }
        let found = self.base.get(key).map_err(Error::read)?;
        Ok(found.map(|value| value.value().to_vec()))
    }

    fn visit_records(&self, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), Error> {
        merge(self.base, &self.changes, prefix, visit)
    }
}

/// Walks stored records and changes side by side; a change hides the stored record of the same key.
fn merge(
    stored: &impl ReadableTable<&'static [u8], &'static [u8]>,
    changes: &Changes,
    prefix: &[u8],
    visit: &mut Visit<'_>,
) -> Result<(), Error> {
    let range = (Bound::Included(prefix), Bound::<&[u8]>::Unbounded);
    let mut stored = stored.range::<&[u8]>(range).map_err(Error::read)?.peekable();
    let mut changed = changes
        .range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded))
        .take_while(|(key, _)| key.starts_with(prefix))
        .peekable();
    loop {
        let Some(key) = next_stored_key(&mut stored, prefix)? else {
            for (key, change) in changed {
                if let Some(value) = change
                    && visit(key, value)?.is_break()
                {
                    break;
                }
            }
            return Ok(());
        };
        let change = changed.next_if(|(changed_key, _)| changed_key.as_slice() <= key.as_slice());
        let flow = match change {
            Some((changed_key, change)) => {
                if *changed_key == key {
                    stored.next();
                }
                change.as_ref().map_or(Ok(ControlFlow::Continue(())), |value| visit(changed_key, value))?
            }
            None => match stored.next() {
                Some(record) => visit(&key, record.map_err(Error::read)?.1.value())?,
                None => return Ok(()),
            },
        };
        if flow.is_break() {
            return Ok(());
        }
    }
}

fn next_stored_key(
    stored: &mut Peekable<redb::Range<'_, &'static [u8], &'static [u8]>>,
    prefix: &[u8],
) -> Result<Option<Vec<u8>>, Error> {
    match stored.peek() {
        Some(Ok((key, _))) if key.value().starts_with(prefix) => Ok(Some(key.value().to_vec())),
        Some(Err(error)) => Err(Error::Read { source: error.to_string().into() }),
        _ => Ok(None),
    }
}
