//! Stages at the same time: each begins when those that it reads are done.
//!
//! What they tell is told in the file's order, as if one had followed the other: a stage's lines wait until those before it
//! are out. The first stage that fails ends the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use build_core::{Arguments, Needed, inputs};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::error::BuildError;
use crate::output::{Line, Output};
use crate::progress::StepNames;
use crate::stage;
use crate::state::{Build, StageResult};

/// Stages under way at a time.
const MOST_STAGES: usize = 4;

/// What a stage leaves when it ends.
struct Done {
    place: usize,
    result: Result<StageResult, BuildError>,
    arguments: Arguments,
    removals: JoinSet<()>,
}

/// Builds all stages that are needed; their results are in `build` then.
pub(crate) async fn build_stages(
    build: &mut Build<'_>,
    needed: &Needed,
    base: &(dyn Fn(&dockerfile::Stage) -> String + Sync),
) -> Result<(), BuildError> {
    let token = build.token.child_token();
    let (mut outputs, mut receivers) = (BTreeMap::new(), Vec::new());
    let mut first_step = build.step;
    let names = Arc::new(StepNames::new(build.file, needed, base));
    for place in &needed.stages {
        let (output, receiver) = build.output.beside(*place, &names);
        outputs.insert(*place, (output, first_step));
        receivers.push((*place, receiver));
        first_step += 1 + build.file.stages[*place].statements.len();
    }
    let failed = AtomicUsize::new(usize::MAX);
    let reads = |place: usize| -> Vec<usize> { inputs(build.file, place, base) };
    let reads: BTreeMap<usize, Vec<usize>> = needed.stages.iter().map(|place| (*place, reads(*place))).collect();
    let output = build.output.clone();
    let tell = tell_in_order(receivers, &output, &failed);
    let work = work(build, needed, outputs, &reads, &token, &failed);
    let (built, ()) = tokio::join!(work, tell);
    built
}

async fn work(
    build: &mut Build<'_>,
    needed: &Needed,
    mut outputs: BTreeMap<usize, (Output, usize)>,
    reads: &BTreeMap<usize, Vec<usize>>,
    token: &CancellationToken,
    failed: &AtomicUsize,
) -> Result<(), BuildError> {
    let mut running: FuturesUnordered<BoxFuture<'_, Done>> = FuturesUnordered::new();
    let mut started = BTreeSet::new();
    let mut results: BTreeMap<usize, StageResult> = BTreeMap::new();
    let mut failure = None;
    loop {
        let is_ready =
            |place: &usize| !started.contains(place) && reads[place].iter().all(|read| results.contains_key(read));
        let next = needed.stages.iter().copied().find(|place| is_ready(place));
        if let Some(place) = next.filter(|_| failure.is_none() && running.len() < MOST_STAGES) {
            started.insert(place);
            let Some((output, step)) = outputs.remove(&place) else { continue };
            running.push(Box::pin(one(
                build.apart(token, results.clone(), step),
                output,
                place,
                place == needed.target,
            )));
            continue;
        }
        let Some(done) = running.next().await else { break };
        build.arguments.add_used(&done.arguments);
        let mut removals = done.removals;
        build.removals.spawn(async move { while removals.join_next().await.is_some() {} });
        match done.result {
            Ok(result) => drop(results.insert(done.place, result)),
            Err(error) => {
                // Those that end because of the first one are not the reason.
                if failure.is_none() {
                    failed.store(done.place, Ordering::Relaxed);
                    token.cancel();
                    failure = Some(error);
                }
            }
        }
    }
    // Who never began has nothing to tell.
    drop(outputs);
    build.results.extend(results);
    failure.map_or(Ok(()), Err)
}

async fn one(mut build: Build<'_>, output: Output, place: usize, is_target: bool) -> Done {
    build.output = &output;
    let built = stage::build(&mut build, place, is_target).await;
    let result = built.and_then(|()| build.results.remove(&place).ok_or(BuildError::Lost));
    let (arguments, removals) = (build.arguments, build.removals);
    Done { place, result, arguments, removals }
}

/// Lines in the order of the stages, up to those of the one that failed.
async fn tell_in_order(receivers: Vec<(usize, mpsc::Receiver<Line>)>, output: &Output, failed: &AtomicUsize) {
    for (place, mut receiver) in receivers {
        while let Some(line) = receiver.recv().await {
            output.send(line).await;
        }
        if failed.load(Ordering::Relaxed) <= place {
            return;
        }
    }
}
