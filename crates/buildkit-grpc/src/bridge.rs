//! `moby.buildkit.v1.frontend.LLBBridge`: a build that its client leads.

use buildkit::{Bridge, BuildKit, Led};
use buildkit_api::apicaps::ApiCap;
use buildkit_api::frontend::llb_bridge_server;
use buildkit_api::frontend::result::Result as Chosen;
use buildkit_api::frontend::{
    EvaluateRequest, EvaluateResponse, InputsRequest, InputsResponse, PingRequest, PongResponse, ReadDirRequest,
    ReadDirResponse, ReadFileRequest, ReadFileResponse, Ref, ResolveImageConfigRequest, ResolveImageConfigResponse,
    Result as Answer, ReturnRequest, ReturnResponse, SolveRequest, SolveResponse, StatFileRequest, StatFileResponse,
    WarnRequest, WarnResponse,
};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::{Identity, status, worker};

/// Which build a call belongs to.
const BUILD: &str = "buildkit-controlapi-buildid";
const CONFIG: &str = "containerimage.config";
/// What a client may rely on.
const CAPS: [&str; 6] =
    ["solve.base", "solve.inlinereturn", "return", "returnmap", "reference.output", "gateway.evaluate.solve"];

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
        let frontend_api_caps = CAPS.iter().map(cap).collect();
        let workers = vec![worker::record(&self.identity)];
        Ok(Response::new(PongResponse { frontend_api_caps, llb_caps: Vec::new(), workers }))
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
        let Led { id, config } =
            bridge.solve(&wanted.frontend, attributes).await.map_err(|error| status::of(&error))?;
        let (result, r#ref) = match wanted.allow_result_return {
            false => (None, id),
            true => (Some(answer(id, config, wanted.allow_result_array_ref)), String::new()),
        };
        Ok(Response::new(SolveResponse { r#ref, result }))
    }

    async fn r#return(&self, request: Request<ReturnRequest>) -> Result<Response<ReturnResponse>, Status> {
        let bridge = self.bridge(request.metadata()).await?;
        let told = request.into_inner();
        let choice = match told.error {
            Some(error) if error.code != 0 => Err(status::of_client(error)),
            _ => Ok(chosen(told.result)?),
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

fn answer(id: String, config: Vec<u8>, is_array: bool) -> Answer {
    let result = match is_array {
        true => Chosen::Ref(Ref { id, def: None }),
        false => Chosen::RefDeprecated(id),
    };
    Answer { result: Some(result), metadata: [(CONFIG.to_owned(), config)].into() }
}

/// The one result; several, one for each platform, are not made here.
fn chosen(answer: Option<Answer>) -> Result<Option<String>, Status> {
    let id = match answer.and_then(|answer| answer.result) {
        None => return Ok(None),
        Some(Chosen::RefDeprecated(id)) => id,
        Some(Chosen::Ref(chosen)) => chosen.id,
        Some(Chosen::RefsDeprecated(_) | Chosen::Refs(_)) => {
            return Err(status::unsupported("a result of several platforms"));
        }
    };
    Ok(Some(id).filter(|id| !id.is_empty()))
}
