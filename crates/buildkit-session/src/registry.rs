//! Which sessions there are.
//!
//! Limits: [`MAX_SESSIONS`] at a time; one that no build uses for [`IDLE_LIMIT`] is ended.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use errors::ErrorKind;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::error::SessionError;
use crate::session::Session;

const MAX_SESSIONS: usize = 1024;
const MAX_METHODS: usize = 256;
const MAX_TEXT: usize = 1024;
/// How long a build waits for the session that it names.
const OPEN_LIMIT: Duration = Duration::from_secs(15);
const IDLE_LIMIT: Duration = Duration::from_secs(300);
const IDLE_CHECK: Duration = Duration::from_secs(15);

/// What a client says of itself when it opens a session.
#[derive(Debug, Clone, Default)]
pub struct Introduction {
    pub id: String,
    pub shared_key: String,
    /// Paths of the methods that it serves.
    pub methods: Vec<String>,
}

/// Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Sessions {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// `None`: the place is taken, the connection not there yet.
    sessions: Mutex<HashMap<String, Option<Session>>>,
    changed: Notify,
}

/// A session's place among the others; dropped, it is free again.
#[derive(Debug)]
pub struct Admitted {
    sessions: Sessions,
    introduction: Introduction,
}

impl Sessions {
    /// Takes a place for a session, before its connection is taken over.
    pub fn admit(&self, introduction: Introduction) -> Result<Admitted, SessionError> {
        let refused = |message: String| Err(SessionError::refused(ErrorKind::InvalidArgument, message));
        let texts = introduction.methods.iter().chain([&introduction.id, &introduction.shared_key]);
        if introduction.methods.len() > MAX_METHODS || texts.into_iter().any(|text| text.len() > MAX_TEXT) {
            return refused("the session says too much of itself".to_owned());
        }
        if introduction.id.is_empty() {
            return refused("the session has no id".to_owned());
        }
        let mut sessions = self.lock();
        if sessions.contains_key(&introduction.id) {
            return refused(format!("session {} already exists", introduction.id));
        }
        if sessions.len() >= MAX_SESSIONS {
            let message = format!("there are {MAX_SESSIONS} sessions already");
            return Err(SessionError::refused(ErrorKind::ResourceExhausted, message));
        }
        sessions.insert(introduction.id.clone(), None);
        Ok(Admitted { sessions: self.clone(), introduction })
    }

    /// The session of this id; one that is about to be opened is waited for.
    pub async fn get(&self, id: &str) -> Result<Session, SessionError> {
        self.get_within(id, OPEN_LIMIT).await
    }

    async fn get_within(&self, id: &str, limit: Duration) -> Result<Session, SessionError> {
        // Some clients name a session with a word before it.
        let id = id.split_once(':').map_or(id, |(_, id)| id);
        let until = Instant::now() + limit;
        loop {
            let changed = self.shared.changed.notified();
            if let Some(Some(session)) =
                self.lock().get(id).filter(|found| found.as_ref().is_some_and(|session| !session.is_over()))
            {
                return Ok(session.clone());
            }
            if timeout_at(until, changed).await.is_err() {
                return Err(SessionError::refused(
                    ErrorKind::NotFound,
                    format!("no active session for {id}: context deadline exceeded"),
                ));
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Option<Session>>> {
        self.shared.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admitted {
    /// Calls the client's services over `stream`, for whoever wants them, until it hangs up or `ending` is cancelled.
    pub async fn serve<S>(self, stream: S, ending: CancellationToken) -> Result<(), SessionError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let over = CancellationToken::new();
        let Introduction { id, shared_key, methods } = self.introduction.clone();
        let methods: BTreeSet<String> = methods.into_iter().map(|method| method.to_ascii_lowercase()).collect();
        let channel = grpc_connection::channel(stream, over.clone()).await.map_err(|_| SessionError::Over)?;
        let session = Session::new(id.clone(), shared_key, methods, channel, over);
        self.sessions.lock().insert(id, Some(session.clone()));
        self.sessions.shared.changed.notify_waiters();
        // The registry has the one that is left when nobody uses it.
        let watched = Watch { session, idle_since: Instant::now() };
        watched.until_over(&ending).await;
        Ok(())
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let gone = self.sessions.lock().remove(&self.introduction.id);
        if let Some(session) = gone.flatten() {
            session.end();
        }
    }
}

struct Watch {
    session: Session,
    idle_since: Instant,
}

impl Watch {
    async fn until_over(mut self, ending: &CancellationToken) {
        loop {
            tokio::select! {
                () = self.session.over() => return,
                () = ending.cancelled() => return,
                () = tokio::time::sleep(IDLE_CHECK) => {}
            }
            // The registry's and this one.
            if self.session.uses() > 2 {
                self.idle_since = Instant::now();
            } else if self.idle_since.elapsed() >= IDLE_LIMIT {
                tracing::info!(session = self.session.id(), "a session that no build uses is ended");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(id: &str) -> Introduction {
        Introduction { id: id.to_owned(), ..Introduction::default() }
    }

    #[test]
    fn an_id_is_taken_until_its_session_goes() {
        let sessions = Sessions::default();
        let first = sessions.admit(named("a")).unwrap();
        assert_eq!(sessions.admit(named("a")).unwrap_err().to_string(), "session a already exists");
        drop(first);
        sessions.admit(named("a")).unwrap();
        assert!(sessions.admit(named("")).is_err());
        assert!(sessions.admit(named(&"x".repeat(2000))).is_err());
    }

    #[test]
    fn there_is_an_end_to_sessions() {
        let sessions = Sessions::default();
        let all: Vec<_> = (0..MAX_SESSIONS).map(|number| sessions.admit(named(&number.to_string())).unwrap()).collect();
        let refused = sessions.admit(named("one more")).unwrap_err();
        assert_eq!(errors::Kind::kind(&refused), ErrorKind::ResourceExhausted);
        drop(all);
    }

    #[tokio::test]
    async fn a_session_that_does_not_come_is_not_waited_for_for_ever() {
        let missing = Sessions::default().get_within("nobody", Duration::from_millis(20)).await.unwrap_err();
        assert_eq!(missing.to_string(), "no active session for nobody: context deadline exceeded");
    }
}
