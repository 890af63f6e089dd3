//! `moby.buildkit.v1.frontend.LLBBridge`: a build that its client leads.

use std::collections::BTreeMap;

use buildkit::{Bridge, BuildKit, Led, LedPart};
use buildkit_api::apicaps::ApiCap;
use buildkit_api::frontend::llb_bridge_server;
use buildkit_api::frontend::result::Result as Chosen;
use buildkit_api::frontend::{
    EvaluateRequest, EvaluateResponse, InputsRequest, InputsResponse, PingRequest, PongResponse, ReadDirRequest,
    ReadDirResponse, ReadFileRequest, ReadFileResponse, Ref, RefMap, RefMapDeprecated, ResolveImageConfigRequest,
    ResolveImageConfigResponse, Result as Answer, ReturnRequest, ReturnResponse, SolveRequest, SolveResponse,
    StatFileRequest, StatFileResponse, WarnRequest, WarnResponse,
};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::{Identity, status, worker};

/// Which build a call belongs to.
const BUILD: &str = "buildkit-controlapi-buildid";
const CONFIG: &str = "containerimage.config";
const PLATFORMS: &str = "refs.platforms";
/// What a client may rely on.
const CAPS: [&str; 6] =
    ["solve.base", "solve.inlinereturn", "return", "returnmap", "reference.output", "gateway.evaluate.solve"];

/// What of a result can be exported; clients look for it among what graphs may have.
const EXPORTS: [&str; 2] = ["exporter.image.attestations", "exporter.multiple"];

pub(crate) struct LlbBridge {
    pub service: BuildKit,
    pub identity: Identity,
}

impl LlbBridge {
    async fn bridge(&self, metadata: &MetadataMap) -> Result<Bridge, Status> {
        let build = metadata.get(BUILD).and_then(|value| value.to_str().ok());
        let build = build.ok_or_else(|| status::invalid("the call names no build"))?;
        self.service.bridge(build).await.map_err(|error| status::of(&error))
    }
}

#[tonic::async_trait]
impl llb_bridge_server::LlbBridge for LlbBridge {
    async fn ping(&self, request: Request<PingRequest>) -> Result<Response<PongResponse>, Status> {
        self.bridge(request.metadata()).await?;
        let cap = |name: &&str| ApiCap { id: (*name).to_owned(), enabled: true, ..ApiCap::default() };
        let (frontend_api_caps, llb_caps) = (CAPS.iter().map(cap).collect(), EXPORTS.iter().map(cap).collect());
        let workers = vec![worker::record(&self.identity)];
        Ok(Response::new(PongResponse { frontend_api_caps, llb_caps, workers }))
    }

    async fn solve(&self, request: Request<SolveRequest>) -> Result<Response<SolveResponse>, Status> {
        let bridge = self.bridge(request.metadata()).await?;
        let wanted = request.into_inner();
        if wanted.definition.is_some_and(|definition| !definition.def.is_empty()) {
            return Err(status::unsupported("a build from an LLB definition"));
        }
        if !wanted.frontend_inputs.is_empty() {
            return Err(status::unsupported("an input of a front end"));
        }
        let attributes = wanted.frontend_opt.into_iter().collect();
        let led = bridge.solve(&wanted.frontend, attributes).await.map_err(|error| status::of(&error))?;
        let (result, r#ref) = match wanted.allow_result_return {
            false if led.has_several => return Err(status::unsupported("results of several platforms as one")),
            false => (None, led.parts.into_iter().next().map(|part| part.id).unwrap_or_default()),
            true => (Some(answer(led, wanted.allow_result_array_ref)), String::new()),
        };
        Ok(Response::new(SolveResponse { r#ref, result }))
    }

    async fn r#return(&self, request: Request<ReturnRequest>) -> Result<Response<ReturnResponse>, Status> {
        let bridge = self.bridge(request.metadata()).await?;
        let told = request.into_inner();
        let choice = match told.error {
            Some(error) if error.code != 0 => Err(status::of_client(error)),
            _ => Ok(chosen(told.result)),
        };
        bridge.choose(choice);
        Ok(Response::new(ReturnResponse {}))
    }

    /// What was solved was made.
    async fn evaluate(&self, request: Request<EvaluateRequest>) -> Result<Response<EvaluateResponse>, Status> {
        let bridge = self.bridge(request.metadata()).await?;
        let id = request.into_inner().r#ref;
        match bridge.has(&id) {
            true => Ok(Response::new(EvaluateResponse {})),
            false => Err(status::not_found(format!("no such ref: {id}"))),
        }
    }

    async fn inputs(&self, request: Request<InputsRequest>) -> Result<Response<InputsResponse>, Status> {
        self.bridge(request.metadata()).await?;
        Ok(Response::new(InputsResponse::default()))
    }

    async fn resolve_image_config(
        &self,
        _: Request<ResolveImageConfigRequest>,
    ) -> Result<Response<ResolveImageConfigResponse>, Status> {
        Err(status::unsupported("to resolve an image's configuration for a client"))
    }

    async fn read_file(&self, _: Request<ReadFileRequest>) -> Result<Response<ReadFileResponse>, Status> {
        Err(status::unsupported("to read files of a result"))
    }

    async fn read_dir(&self, _: Request<ReadDirRequest>) -> Result<Response<ReadDirResponse>, Status> {
        Err(status::unsupported("to read folders of a result"))
    }

    async fn stat_file(&self, _: Request<StatFileRequest>) -> Result<Response<StatFileResponse>, Status> {
        Err(status::unsupported("to look at files of a result"))
    }

    async fn warn(&self, _: Request<WarnRequest>) -> Result<Response<WarnResponse>, Status> {
        Err(status::unsupported("a warning of a client's"))
    }
}

/// The result, or one for each platform, by their names.
fn answer(led: Led, is_array: bool) -> Answer {
    let one = |id: String| Ref { id, def: None };
    if !led.has_several {
        let Some(part) = led.parts.into_iter().next() else { return Answer::default() };
        let result = match is_array {
            true => Chosen::Ref(one(part.id)),
            false => Chosen::RefDeprecated(part.id),
        };
        return Answer {
            result: Some(result),
            metadata: [(CONFIG.to_owned(), part.config)].into(),
            ..Answer::default()
        };
    }
    let platforms: Vec<serde_json::Value> = led.parts.iter().map(|part| platform(&part.platform)).collect();
    let platforms = serde_json::json!({ "Platforms": platforms }).to_string().into_bytes();
    let config = |part: &LedPart| (format!("{CONFIG}/{}", part.platform), part.config.clone());
    let metadata = led.parts.iter().map(config).chain([(PLATFORMS.to_owned(), platforms)]).collect();
    let parts = led.parts.into_iter();
    let result = match is_array {
        true => Chosen::Refs(RefMap { refs: parts.map(|part| (part.platform, one(part.id))).collect() }),
        false => {
            Chosen::RefsDeprecated(RefMapDeprecated { refs: parts.map(|part| (part.platform, part.id)).collect() })
        }
    };
    Answer { result: Some(result), metadata, ..Answer::default() }
}

/// As BuildKit lists the platforms of a result.
fn platform(text: &str) -> serde_json::Value {
    let platform = image_core::Platform::parse(text).unwrap_or_default();
    serde_json::json!({ "ID": text, "Platform": platform })
}

/// The results that the client wants.
fn chosen(answer: Option<Answer>) -> Vec<String> {
    let mut ids: Vec<String> = match answer.and_then(|answer| answer.result) {
        None => Vec::new(),
        Some(Chosen::RefDeprecated(id)) => vec![id],
        Some(Chosen::Ref(chosen)) => vec![chosen.id],
        Some(Chosen::RefsDeprecated(all)) => BTreeMap::from_iter(all.refs).into_values().collect(),
        Some(Chosen::Refs(all)) => BTreeMap::from_iter(all.refs).into_values().map(|chosen| chosen.id).collect(),
    };
    ids.retain(|id| !id.is_empty());
    ids
}
