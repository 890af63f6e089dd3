//! `moby.buildkit.v1.Control`: builds, what they tell, sessions, the cache.

use std::pin::Pin;

use builder::{CacheRecord, CacheTarget, PruneFilter};
use buildkit::{BuildKit, Exporter, Solve};
use buildkit_api::Timestamp;
use buildkit_api::control::control_server;
use buildkit_api::control::{
    BuildHistoryEvent, BuildHistoryRequest, BytesMessage, CacheOptionsEntry, DiskUsageRequest, DiskUsageResponse,
    InfoRequest, InfoResponse, ListWorkersRequest, ListWorkersResponse, PruneRequest, SolveRequest, SolveResponse,
    StatusRequest, StatusResponse, UpdateBuildHistoryRequest, UpdateBuildHistoryResponse, UsageRecord,
};
use futures_util::{Stream, StreamExt, stream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::{Identity, history, sessions, status, worker};

const SECOND: i64 = 1_000_000_000;

pub(crate) struct Control {
    pub service: BuildKit,
    pub identity: Identity,
    pub ending: CancellationToken,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl control_server::Control for Control {
    type PruneStream = Answers<UsageRecord>;
    type StatusStream = Answers<StatusResponse>;
    type SessionStream = Answers<BytesMessage>;
    type ListenBuildHistoryStream = Answers<BuildHistoryEvent>;

    async fn solve(&self, request: Request<SolveRequest>) -> Result<Response<SolveResponse>, Status> {
        let solve = solve(request.into_inner())?;
        let solved = self.service.solve(solve).await.map_err(|error| status::of(&error))?;
        Ok(Response::new(SolveResponse { exporter_response: solved.response.into_iter().collect() }))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<Self::StatusStream>, Status> {
        let reference = request.into_inner().r#ref;
        let statuses = self.service.statuses(&reference).await.map_err(|error| status::of(&error))?;
        let told = stream::unfold(statuses, |mut statuses| async move {
            let status = statuses.next().await?;
            Some((Ok((*status).clone()), statuses))
        });
        Ok(Response::new(Box::pin(told)))
    }

    async fn session(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let introduction = sessions::introduction(request.metadata());
        let admitted = self.service.sessions().admit(introduction).map_err(status::of_kind)?;
        let (stream, answers) = sessions::tunnel(request.into_inner());
        let ending = self.ending.clone();
        tokio::spawn(async move {
            if let Err(error) = admitted.serve(stream, ending).await {
                tracing::debug!(error = errors::chain(&error), "a session did not begin");
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn list_workers(&self, _: Request<ListWorkersRequest>) -> Result<Response<ListWorkersResponse>, Status> {
        Ok(Response::new(ListWorkersResponse { record: vec![worker::record(&self.identity)] }))
    }

    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        Ok(Response::new(InfoResponse { buildkit_version: Some(worker::version(&self.identity)) }))
    }

    async fn disk_usage(&self, request: Request<DiskUsageRequest>) -> Result<Response<DiskUsageResponse>, Status> {
        if has_filter(&request.into_inner().filter) {
            return Err(status::unsupported("a filter of the build cache"));
        }
        let record = self.service.builder().cache().into_iter().map(usage).collect();
        Ok(Response::new(DiskUsageResponse { record }))
    }

    async fn prune(&self, request: Request<PruneRequest>) -> Result<Response<Self::PruneStream>, Status> {
        let wanted = request.into_inner();
        if has_filter(&wanted.filter) || wanted.max_used_space > 0 || wanted.min_free_space > 0 {
            return Err(status::unsupported("a filter or a limit of space in use or free of the build cache"));
        }
        let known = self.service.builder().cache();
        let filter = PruneFilter {
            keep_bytes: u64::try_from(wanted.reserved_space).unwrap_or(0),
            unused_since: (wanted.keep_duration > 0).then(|| now() - wanted.keep_duration / SECOND),
        };
        let everything = filter.keep_bytes == 0 && filter.unused_since.is_none();
        let pruned = self.service.builder().prune(filter).await.map_err(status::of_kind)?;
        if everything {
            self.service.contexts().prune().await.map_err(status::of_kind)?;
        }
        let gone =
            known.into_iter().filter(move |record| pruned.ids.contains(&record.id)).map(|record| Ok(usage(record)));
        Ok(Response::new(Box::pin(stream::iter(gone.collect::<Vec<_>>()))))
    }

    async fn listen_build_history(
        &self,
        request: Request<BuildHistoryRequest>,
    ) -> Result<Response<Self::ListenBuildHistoryStream>, Status> {
        let wanted = request.into_inner();
        if has_filter(&wanted.filter) {
            return Err(status::unsupported("a filter of the build history"));
        }
        let past = stream::iter(history::events(self.service.history(), &wanted)).map(Ok);
        match wanted.early_exit {
            true => Ok(Response::new(Box::pin(past))),
            false => Err(status::unsupported("to follow the build history")),
        }
    }

    async fn update_build_history(
        &self,
        request: Request<UpdateBuildHistoryRequest>,
    ) -> Result<Response<UpdateBuildHistoryResponse>, Status> {
        let wanted = request.into_inner();
        if wanted.pinned || wanted.finalize {
            return Err(status::unsupported("to pin a record of the build history"));
        }
        if wanted.delete && !self.service.forget(&wanted.r#ref) {
            return Err(status::not_found(format!("could not find build {}", wanted.r#ref)));
        }
        Ok(Response::new(UpdateBuildHistoryResponse {}))
    }
}

fn solve(request: SolveRequest) -> Result<Solve, Status> {
    if !request.frontend_inputs.is_empty() {
        return Err(status::unsupported("an input of a front end"));
    }
    let mut exporters: Vec<Exporter> = request
        .exporters
        .into_iter()
        .map(|exporter| Exporter {
            kind: exporter.r#type,
            attributes: exporter.attrs.into_iter().collect(),
            id: exporter.id,
        })
        .collect();
    // Clients name the first one twice, for older builders.
    if exporters.is_empty() && !request.exporter_deprecated.is_empty() {
        let attributes = request.exporter_attrs_deprecated.into_iter().collect();
        exporters.push(Exporter { kind: request.exporter_deprecated, attributes, id: String::new() });
    }
    let cache = request.cache.unwrap_or_default();
    let mut attributes: std::collections::BTreeMap<_, _> = request.frontend_attrs.into_iter().collect();
    let target = |entry: &CacheOptionsEntry| {
        let attributes = entry.attrs.clone().into_iter().collect();
        CacheTarget::of(&entry.r#type, attributes).map_err(status::of_kind)
    };
    let cache_exports = cache.exports.iter().map(target).collect::<Result<_, _>>()?;
    let imports: Vec<_> =
        cache.imports.iter().map(|entry| serde_json::json!({ "Type": entry.r#type, "Attrs": entry.attrs })).collect();
    if !imports.is_empty() {
        attributes.insert("cache-imports".to_owned(), serde_json::Value::from(imports).to_string());
    }
    Ok(Solve {
        reference: request.r#ref,
        session: request.session,
        frontend: request.frontend,
        attributes,
        exporters,
        has_definition: request.definition.is_some_and(|definition| !definition.def.is_empty()),
        cache_exports,
        upload: None,
    })
}

/// Clients send an empty one where they mean none.
fn has_filter(filters: &[String]) -> bool {
    filters.iter().any(|filter| !filter.is_empty())
}

fn usage(record: CacheRecord) -> UsageRecord {
    let time = |seconds: i64| Some(Timestamp { seconds, nanos: 0 });
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    UsageRecord {
        id: record.id,
        size: number(record.bytes),
        parents: record.parent.into_iter().collect(),
        created_at: time(record.created),
        last_used_at: time(record.last_used),
        usage_count: number(record.uses),
        description: record.description,
        record_type: "regular".to_owned(),
        ..UsageRecord::default()
    }
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
