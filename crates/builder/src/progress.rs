//! Steps as they happen, those of all stages beside each other: what BuildKit's clients show.
//!
//! Steps that make something are told, and the look for what a stage lies on; instructions that only change the
//! configuration are not, as in BuildKit.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use build_core::Needed;
use dockerfile::{Dockerfile, Instruction};
use tokio::sync::mpsc;

use crate::error::BuildError;
use crate::output::Stream;

/// What is told and not taken yet; a client that does not read makes the build wait.
const QUEUE: usize = 256;
/// The look for a stage's base; its FROM is the next number, its statements follow, and behind all of them its triggers.
const METADATA: usize = 0;
const FROM: usize = 1;
const TRIGGER: usize = 1 << 20;
/// In place of a stage: work of the build's own, by its number.
const TASKS: usize = usize::MAX;

/// A step: the platform that it is for, its stage's place in the file, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId {
    /// Its place among those of the build.
    pub platform: usize,
    pub stage: usize,
    pub number: usize,
}

/// One thing told of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It begins: `[build 2/5] RUN make`. `after` is the step that it lies on.
    Began {
        step: StepId,
        name: String,
        after: Option<StepId>,
    },
    Printed {
        step: StepId,
        stream: Stream,
        text: String,
    },
    /// A layer (or nothing) of what it pulls.
    Pulled {
        step: StepId,
        id: String,
        status: String,
        current: Option<u64>,
        total: Option<u64>,
    },
    /// It is over; `cached`: it was made before.
    Ended {
        step: StepId,
        cached: bool,
        error: Option<String>,
    },
}

/// Tells of one stage.
#[derive(Debug, Clone)]
pub(crate) struct Teller {
    sender: mpsc::Sender<Progress>,
    platform: PlatformName,
    stage: usize,
    names: Arc<StepNames>,
    now: Arc<Mutex<Now>>,
    tasks: Arc<AtomicUsize>,
}

/// One of a build's platforms: its place among them, and how steps name it; a build for one platform does not.
#[derive(Debug, Clone, Default)]
struct PlatformName {
    place: usize,
    name: String,
}

/// Where a stage is.
#[derive(Debug, Default)]
struct Now {
    number: usize,
    /// The step before.
    after: Option<usize>,
    /// Steps with a number of their own so far.
    count: usize,
    cached: bool,
}

pub(crate) fn channel() -> (Teller, mpsc::Receiver<Progress>) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let platform = PlatformName::default();
    (Teller { sender, platform, stage: 0, names: Arc::default(), now: Arc::default(), tasks: Arc::default() }, receiver)
}

impl Teller {
    /// For one of several platforms.
    pub fn of_platform(&self, place: usize, name: &str) -> Self {
        Self { platform: PlatformName { place, name: name.to_owned() }, ..self.clone() }
    }

    pub fn of_stage(&self, stage: usize, names: &Arc<StepNames>) -> Self {
        Self { stage, names: Arc::clone(names), now: Arc::default(), ..self.clone() }
    }

    /// For one task of the build's own.
    pub fn of_tasks(&self) -> Self {
        self.of_stage(TASKS, &Arc::default())
    }

    pub async fn begin_task(&self, name: &str) {
        let number = self.tasks.fetch_add(1, Ordering::Relaxed);
        self.begin(number, name.to_owned()).await;
    }

    /// A stage begins, perhaps once more.
    pub async fn begin_metadata(&self, base: &str) {
        *self.now() = Now::default();
        self.begin(METADATA, format!("[internal] load metadata for {base}")).await;
    }

    pub async fn begin_from(&self, base: &str) {
        let name = self.counted(&format!("FROM {base}"));
        self.begin(FROM, name).await;
    }

    /// `at`: its place among all statements of the stage.
    pub async fn begin_statement(&self, at: usize, text: &str) {
        let name = self.counted(text);
        self.begin(FROM + 1 + at, name).await;
    }

    pub async fn begin_trigger(&self, at: usize, text: &str) {
        self.begin(TRIGGER + at, format!("ONBUILD {text}")).await;
    }

    fn counted(&self, text: &str) -> String {
        let mut now = self.now();
        now.count += 1;
        self.names.name(&self.platform.name, self.stage, now.count, text)
    }

    async fn begin(&self, number: usize, name: String) {
        let after = {
            let mut now = self.now();
            (now.number, now.cached) = (number, false);
            now.after.replace(number)
        };
        let after = after.map(|number| self.numbered(number));
        self.tell(Progress::Began { step: self.numbered(number), name, after }).await;
    }

    pub async fn end<T>(&self, done: &Result<T, BuildError>) {
        let error = done.as_ref().err().map(BuildError::of_step);
        let cached = error.is_none() && self.now().cached;
        self.tell(Progress::Ended { step: self.step(), cached, error }).await;
    }

    /// The step under way was made before.
    pub fn mark_cached(&self) {
        self.now().cached = true;
    }

    pub async fn printed(&self, stream: Stream, text: String) {
        self.tell(Progress::Printed { step: self.step(), stream, text }).await;
    }

    pub async fn pulled(&self, id: &str, status: &str, current: Option<u64>, total: Option<u64>) {
        let (id, status) = (id.to_owned(), status.to_owned());
        self.tell(Progress::Pulled { step: self.step(), id, status, current, total }).await;
    }

    fn step(&self) -> StepId {
        let number = self.now().number;
        self.numbered(number)
    }

    fn numbered(&self, number: usize) -> StepId {
        StepId { platform: self.platform.place, stage: self.stage, number }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody listens is no error: the build is cancelled by other means.
    async fn tell(&self, progress: Progress) {
        let _ = self.sender.send(progress).await;
    }
}

/// Whether an instruction is a step that is told.
pub(crate) fn is_told(instruction: &Instruction) -> bool {
    matches!(instruction, Instruction::Run(_) | Instruction::Copy(_) | Instruction::Add(_) | Instruction::WorkDir(_))
}

/// How the stages are named, and how many steps they have: `[build 2/5]`, `[linux/arm64 build 2/5]`; a single stage has no
/// name.
#[derive(Debug, Default)]
pub(crate) struct StepNames {
    stages: Vec<(String, usize)>,
}

impl StepNames {
    /// `base`: the expanded name of what a stage lies on.
    pub fn new(file: &Dockerfile, needed: &Needed, base: &(dyn Fn(&dockerfile::Stage) -> String + Sync)) -> Self {
        let is_single = needed.stages.len() == 1;
        let stage = |(place, stage): (usize, &dockerfile::Stage)| {
            let name = match (&stage.name, is_single) {
                (_, true) => String::new(),
                (Some(name), false) => name.clone(),
                (None, false) => format!("stage-{place}"),
            };
            let base = base(stage);
            let from = usize::from(base != "scratch" && !file.stage(&base).is_some_and(|found| found < place));
            let told = stage.statements.iter().filter(|statement| is_told(&statement.instruction)).count();
            (name, from + told)
        };
        Self { stages: file.stages.iter().enumerate().map(stage).collect() }
    }

    fn name(&self, platform: &str, stage: usize, nth: usize, text: &str) -> String {
        let Some((name, total)) = self.stages.get(stage) else { return text.to_owned() };
        let words: String =
            [platform, name].iter().filter(|word| !word.is_empty()).flat_map(|word| [word, " "]).collect();
        let width = total.to_string().len();
        format!("[{words}{nth:width$}/{total}] {text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str, stages: &[usize]) -> StepNames {
        let file = Dockerfile::parse(text.as_bytes()).unwrap();
        let needed = Needed { stages: stages.to_vec(), target: *stages.last().unwrap() };
        StepNames::new(&file, &needed, &|stage| stage.base.clone())
    }

    #[test]
    fn steps_are_named_as_buildkit_names_them() {
        let one = names("FROM a\nRUN x\nENV a=b\nCOPY . /\n", &[0]);
        assert_eq!(one.name("", 0, 2, "RUN x"), "[2/3] RUN x");
        let two = names("FROM a AS build\nRUN x\nFROM build\nRUN y\nFROM scratch\nCOPY . /", &[0, 1, 2]);
        assert_eq!(two.name("", 0, 1, "FROM a"), "[build 1/2] FROM a");
        assert_eq!(two.name("linux/arm64", 0, 1, "FROM a"), "[linux/arm64 build 1/2] FROM a");
        assert_eq!(two.name("", 1, 1, "RUN y"), "[stage-1 1/1] RUN y");
        assert_eq!(two.name("", 2, 1, "COPY . /"), "[stage-2 1/1] COPY . /");
    }

    #[test]
    fn numbers_are_as_wide_as_the_largest() {
        let text = format!("FROM a\n{}", "RUN x\n".repeat(11));
        assert_eq!(names(&text, &[0]).name("", 0, 2, "RUN x"), "[ 2/12] RUN x");
    }

    #[tokio::test]
    async fn what_is_printed_belongs_to_the_step_under_way() {
        let (teller, mut told) = channel();
        let stage = teller.of_stage(3, &Arc::default());
        stage.begin_metadata("docker.io/library/a").await;
        stage.end(&Ok(())).await;
        stage.begin_from("a").await;
        stage.printed(Stream::Stdout, "x".to_owned()).await;
        stage.mark_cached();
        stage.end(&Ok(())).await;
        drop((teller, stage));
        let mut all = Vec::new();
        while let Some(progress) = told.recv().await {
            all.push(progress);
        }
        let step = |number| StepId { platform: 0, stage: 3, number };
        assert_eq!(all[2], Progress::Began { step: step(1), name: "FROM a".to_owned(), after: Some(step(0)) });
        assert_eq!(all[3], Progress::Printed { step: step(1), stream: Stream::Stdout, text: "x".to_owned() });
        assert_eq!(all[4], Progress::Ended { step: step(1), cached: true, error: None });
    }
}
