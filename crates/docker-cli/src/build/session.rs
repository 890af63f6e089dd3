//! A build by BuildKit's protocol: a session that lends, a call that builds, a stream that tells; each over a connection of its
//! own that the Engine API hands over (`POST /session`, `POST /grpc`).

use std::collections::BTreeMap;
use std::time::Duration;

use buildkit_api::control::{SolveRequest, StatusResponse};
use buildkit_client::{BuildClient, Lending, SolveFailure};
use dockerfile::Lines;
use engine_client::Request;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use super::agents::Agents;
use super::caches::Caches;
use super::context::{DockerfileText, Source};
use super::lend::{self, Lent};
use super::outputs::Outputs;
use super::progress::{Display, Mode};
use super::request::{random_hex, secrets};
use super::{attributes, mistake};
use crate::command::Matches;
use crate::context::{Context, say};
use crate::failure::Failure;

const PROTOCOL: &str = "h2c";
const FRONTEND: &str = "dockerfile.v0";
const BUILDER: &str = "default";
/// How often a display is drawn anew.
const TICK: Duration = Duration::from_millis(100);
/// How long the last words of a build that is over are waited for.
const LAST_WORDS: Duration = Duration::from_secs(5);

type Solved = Result<BTreeMap<String, String>, SolveFailure>;

/// Builds; answers the image's id, empty where there is none.
pub async fn build(context: &Context, flags: &Matches, source: Source, outputs: &Outputs) -> Result<String, Failure> {
    let mode = Mode::of(flags.text("progress"), flags.is_set("quiet"))?;
    let mut lent = Lent::of(source)?;
    lent.add_contexts(flags.list("build-context"))?;
    let mut frontend_attrs = attributes::of(context, flags)?;
    frontend_attrs.append(&mut lent.attributes);
    let mut exported = outputs.exported(flags)?;
    let mut caches = Caches::of(flags)?;
    let agents = Agents::of(flags.list("ssh"))?;
    let session = Session::new(&lent, context);
    let request = SolveRequest {
        r#ref: random_hex(),
        session: session.id.clone(),
        frontend: FRONTEND.to_owned(),
        frontend_attrs: frontend_attrs.into_iter().collect(),
        exporters: std::mem::take(&mut exported.exporters),
        cache: Some(std::mem::take(&mut caches.options)),
        ..SolveRequest::default()
    };
    let lending = Lending {
        folders: lent.folders,
        secrets: secrets(flags.list("secret"))?,
        agents: agents.sockets(),
        logins: lend::logins(context),
        archive: lent.archive,
        targets: exported.targets(),
        contents: caches.folders.clone().into_iter().chain(lent.layouts).collect(),
    };
    let serving = session.open(context, lending).await?;
    let client = connect(context).await?;
    let mut display = Display::new(mode, BUILDER);
    let solved = follow(&client, request, &mut display).await;
    serving.end().await;
    drop(agents);
    display.finish(solved.is_err());
    let response = solved.map_err(|failure| told(&failure))?;
    exported.commit()?;
    caches.commit(&response)?;
    let id = ["containerimage.config.digest", "containerimage.digest"].iter().find_map(|key| response.get(*key));
    Ok(id.cloned().unwrap_or_default())
}

/// BuildKit's calls of the engine.
pub async fn connect(context: &Context) -> Result<BuildClient, Failure> {
    let (reader, writer) = context.client.upgrade(Request::post("/grpc"), PROTOCOL).await?.split();
    let connection = tokio::io::join(reader, writer);
    BuildClient::connect(connection, CancellationToken::new()).await.map_err(|failure| told(&failure))
}

fn told(failure: &SolveFailure) -> Failure {
    if let Some(place) = &failure.place {
        let file = DockerfileText { name: place.filename.clone(), bytes: place.text.clone() };
        say(mistake::excerpt(&file, Lines { first: place.first, last: place.last }).trim_end());
    }
    Failure::Text(format!("ERROR: failed to build: failed to solve: {failure}"))
}

/// Shows a build until it is over. Ctrl-C ends it.
async fn follow(client: &BuildClient, request: SolveRequest, display: &mut Display) -> Solved {
    let reference = request.r#ref.clone();
    let mut stops = Stops::catch()?;
    let mut solving = Box::pin(client.solve(request));
    let mut statuses: Streaming<StatusResponse> = tokio::select! {
        biased;
        // A build that has not begun tells nothing.
        solved = &mut solving => match solved {
            Ok(_) => return finish(client.statuses(&reference).await?, solved, display).await,
            Err(failure) => return Err(failure),
        },
        statuses = client.statuses(&reference) => statuses?,
        () = stops.next() => return Err(cancelled()),
    };
    let mut ticks = tokio::time::interval(TICK);
    let solved = loop {
        tokio::select! {
            solved = &mut solving => break solved,
            status = statuses.message() => match status {
                Ok(Some(status)) => display.take(status),
                // The build says why.
                Ok(None) | Err(_) => break solving.as_mut().await,
            },
            _ = ticks.tick() => display.tick(),
            () = stops.next() => break Err(cancelled()),
        }
    };
    // Without its call the build ends.
    drop(solving);
    finish(statuses, solved, display).await
}

/// What is told to the very end.
async fn finish(mut statuses: Streaming<StatusResponse>, solved: Solved, display: &mut Display) -> Solved {
    let rest = async {
        while let Ok(Some(status)) = statuses.message().await {
            display.take(status);
        }
    };
    let _ = tokio::time::timeout(LAST_WORDS, rest).await;
    solved
}

fn cancelled() -> SolveFailure {
    SolveFailure { message: "Canceled: context canceled".to_owned(), place: None }
}

/// What ends a build from outside.
struct Stops {
    interrupt: Signal,
    terminate: Signal,
}

impl Stops {
    fn catch() -> Result<Self, SolveFailure> {
        let caught = |kind| signal(kind).map_err(|error| SolveFailure { message: error.to_string(), place: None });
        Ok(Self { interrupt: caught(SignalKind::interrupt())?, terminate: caught(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// A session that is not open yet.
struct Session {
    id: String,
    shared_key: String,
}

/// One that is.
struct Serving {
    ending: CancellationToken,
    task: JoinHandle<()>,
}

impl Session {
    fn new(lent: &Lent, context: &Context) -> Self {
        Self { id: random_hex(), shared_key: lent.shared_key(&context.config.folder) }
    }

    async fn open(&self, context: &Context, lending: Lending) -> Result<Serving, Failure> {
        let mut request = Request::post("/session")
            .header("x-docker-expose-session-uuid", &self.id)
            .header("x-docker-expose-session-name", BUILDER)
            .header("x-docker-expose-session-sharedkey", &self.shared_key);
        for method in lending.methods() {
            request = request.header("x-docker-expose-session-grpc-method", method);
        }
        let (reader, writer) = context.client.upgrade(request, PROTOCOL).await?.split();
        let ending = CancellationToken::new();
        let served = lending.serve(tokio::io::join(reader, writer), ending.clone());
        // A session that breaks breaks its build, which says so.
        let task = tokio::spawn(async move { drop(served.await) });
        Ok(Serving { ending, task })
    }
}

impl Serving {
    async fn end(self) {
        self.ending.cancel();
        let _ = tokio::time::timeout(LAST_WORDS, self.task).await;
    }
}
