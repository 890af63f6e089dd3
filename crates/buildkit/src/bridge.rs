//! A build that its client leads: it asks for builds of Dockerfiles, and says in the end which result is the one.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use builder::CacheTarget;
use errors::ErrorKind;
use tokio::sync::watch;

use crate::built::{Built, Part};
use crate::error::SolveError;
use crate::job::Job;
use crate::messages;
use crate::service::BuildKit;
use crate::solve::{self, Work};

/// Results of one build that its client may choose from.
const MAX_RESULTS: usize = 64;

/// What a build that was asked for came to.
#[derive(Debug, Clone)]
pub struct Led {
    pub parts: Vec<LedPart>,
    /// There is one for each of several platforms.
    pub has_several: bool,
}

/// One platform's result.
#[derive(Debug, Clone)]
pub struct LedPart {
    /// Names the result.
    pub id: String,
    /// `linux/amd64`.
    pub platform: String,
    /// The image's configuration, as JSON.
    pub config: Vec<u8>,
}

/// The results that are the ones, all of one build; none for none.
type Choice = Result<Vec<String>, SolveError>;

/// Cheap to clone.
#[derive(Clone)]
pub struct Bridge {
    shared: Arc<Shared>,
}

struct Shared {
    service: BuildKit,
    job: Arc<Job>,
    session: String,
    cache_to: Vec<CacheTarget>,
    results: Mutex<HashMap<String, (Arc<Built>, usize)>>,
    /// The last build that failed: its place is told once more with the client's own choice.
    failure: Mutex<Option<SolveError>>,
    choice: watch::Sender<Option<Choice>>,
}

impl Bridge {
    pub(crate) fn new(service: BuildKit, job: Arc<Job>, session: String, cache_to: Vec<CacheTarget>) -> Self {
        let (results, failure) = (Mutex::default(), Mutex::default());
        Self {
            shared: Arc::new(Shared {
                service,
                job,
                session,
                cache_to,
                results,
                failure,
                choice: watch::Sender::new(None),
            }),
        }
    }

    /// Builds a Dockerfile.
    pub async fn solve(&self, frontend: &str, attributes: BTreeMap<String, String>) -> Result<Led, SolveError> {
        solve::check_frontend(frontend)?;
        let shared = &self.shared;
        let cache_to = shared.cache_to.clone();
        let work = Work { session: &shared.session, attributes: &attributes, upload: None, cache_to };
        let built = solve::make(&shared.service, &shared.job, work).await;
        let built = built.inspect_err(|error| {
            *shared.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
        })?;
        let (built, mut parts) = (Arc::new(built), Vec::new());
        let mut results = shared.results.lock().unwrap_or_else(PoisonError::into_inner);
        if results.len() + built.parts.len() > MAX_RESULTS {
            let message = format!("a build has {MAX_RESULTS} results at most");
            return Err(SolveError::refused(ErrorKind::ResourceExhausted, message));
        }
        for (place, part) in built.parts.iter().enumerate() {
            let id = solve::random_name()?;
            results.insert(id.clone(), (Arc::clone(&built), place));
            let (platform, config) = (part.platform.clone(), part.made.image.config.to_bytes());
            parts.push(LedPart { id, platform, config });
        }
        Ok(Led { parts, has_several: built.has_several() })
    }

    /// The client's last word: results (or none), or why there are none.
    pub fn choose(&self, choice: Choice) {
        let choice = choice.map_err(|told| {
            let failure = self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner);
            match &*failure {
                Some(known) if told.message.ends_with(&known.message) => {
                    SolveError { source_place: known.source_place.clone(), ..told }
                }
                _ => told,
            }
        });
        self.shared.choice.send_replace(Some(choice));
    }

    /// Whether there is a result of this name.
    pub fn has(&self, id: &str) -> bool {
        self.shared.results.lock().unwrap_or_else(PoisonError::into_inner).contains_key(id)
    }

    /// Waits for the client's last word.
    pub(crate) async fn chosen(&self) -> Result<Option<Built>, SolveError> {
        let mut choice = self.shared.choice.subscribe();
        let chosen = choice.wait_for(Option::is_some).await.map_err(|_| messages::cancelled())?.clone();
        let ids = chosen.unwrap_or(Ok(Vec::new()))?;
        let results = self.shared.results.lock().unwrap_or_else(PoisonError::into_inner);
        let mut chosen = Vec::new();
        for id in ids {
            let missing = || SolveError::refused(ErrorKind::NotFound, format!("no such ref: {id}"));
            chosen.push(results.get(&id).ok_or_else(missing)?);
        }
        chosen.sort_by_key(|(_, place)| *place);
        let is_index = chosen.first().is_some_and(|(all, _)| all.is_index);
        let parts: Vec<Part> = chosen.into_iter().map(|(all, place)| all.parts[*place].clone()).collect();
        Ok(Some(Built { parts, is_index }).filter(|built| !built.parts.is_empty()))
    }
}
