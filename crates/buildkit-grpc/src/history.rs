//! Solves that were, as clients list them.

use buildkit::Record;
use buildkit_api::control::{
    BuildHistoryEvent, BuildHistoryEventType, BuildHistoryRecord, BuildHistoryRequest, Exporter,
};

use crate::status;

/// Those that the client asks for, the newest first.
pub(crate) fn events(records: Vec<Record>, wanted: &BuildHistoryRequest) -> Vec<BuildHistoryEvent> {
    let limit = usize::try_from(wanted.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    records
        .into_iter()
        .filter(|record| !wanted.active_only && (wanted.r#ref.is_empty() || wanted.r#ref == record.reference))
        .take(limit)
        .map(|record| BuildHistoryEvent {
            r#type: BuildHistoryEventType::Complete.into(),
            record: Some(to_wire(record)),
        })
        .collect()
}

fn to_wire(record: Record) -> BuildHistoryRecord {
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let (response, error) = match record.result {
        Ok(response) => (response, None),
        Err(error) => (Default::default(), Some(status::rpc_status(&error))),
    };
    let exporter = |exporter: buildkit::Exporter| Exporter {
        r#type: exporter.kind,
        attrs: exporter.attributes.into_iter().collect(),
        ..Exporter::default()
    };
    BuildHistoryRecord {
        r#ref: record.reference,
        frontend: record.frontend,
        frontend_attrs: record.attributes.into_iter().collect(),
        exporters: record.exporters.into_iter().map(exporter).collect(),
        error,
        created_at: Some(record.created),
        completed_at: Some(record.completed),
        exporter_response: response.into_iter().collect(),
        num_cached_steps: number(record.cached_steps),
        num_total_steps: number(record.steps),
        num_completed_steps: number(record.completed_steps),
        ..BuildHistoryRecord::default()
    }
}
