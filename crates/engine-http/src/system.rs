//! The engine itself: ping, version, info, events, logins.

use std::sync::Arc;
use std::time::Duration;

use engine_api::auth::{AuthConfig, AuthResponse, Secret};
use engine_api::event::{Actor, Event};
use engine_api::system::{Info, Version, ping};
use engine_api::{ApiVersion, adapt};
use events::{Bus, Filter, Subject, Subscription};
use futures_util::stream::{self, Stream};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, PRAGMA};
use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};

use crate::Api;
use crate::query::parse_time_ns;
use crate::reply::{self, Reply};
use crate::request::Request;
use crate::status::{Answer, Failure};

/// What only the program knows: its build, its configuration, its host.
pub trait Engine: Send + Sync {
    fn version(&self) -> Version;
    /// Everything but the counts of containers, images and listeners.
    fn info(&self) -> Info;
    /// Name and version, for the header `Server`.
    fn server(&self) -> String;
    fn is_experimental(&self) -> bool;
    fn has_cgroup_v2(&self) -> bool;
    /// `1` is the classic builder, `2` BuildKit.
    fn builder_version(&self) -> &'static str;
}

pub fn ping(api: &Api, request: &Request) -> Reply {
    let is_head = request.parts.method == http::Method::HEAD;
    let mut reply = reply::text(if is_head { "" } else { "OK" });
    let headers = reply.headers_mut();
    if is_head {
        // Said of the body that there is, as Docker does, and not of the one that GET has.
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(reply::header_name(ping::BUILDER_VERSION), HeaderValue::from_static(api.engine.builder_version()));
    headers.insert(reply::header_name(ping::SWARM), HeaderValue::from_static("inactive"));
    reply
}

pub fn version(api: &Api) -> Reply {
    reply::ok(&api.engine.version())
}

/// Managed plugins, of which there are none: this engine installs none.
pub fn plugins() -> Reply {
    reply::ok(&[(); 0])
}

pub async fn info(api: &Api, version: ApiVersion) -> Answer {
    let mut info = api.engine.info();
    let counts = api.containers.containers.counts();
    info.containers_running = counts.running as i64;
    info.containers_paused = counts.paused as i64;
    info.containers_stopped = counts.stopped as i64;
    info.containers = info.containers_running + info.containers_paused + info.containers_stopped;
    info.images = api.images.list(&images::ListFilters::default()).await?.len() as i64;
    info.plugins.volume = api.volumes.drivers();
    info.events_listeners = api.events.subscribers() as i64;
    let warnings = api.networks.warnings().await?;
    if !warnings.is_empty() {
        info.warnings.get_or_insert_default().extend(warnings);
    }
    Ok(reply::ok(&adapt::info(info, version)))
}

/// Asks the registry whether it knows this user.
pub async fn auth(api: &Api, request: Request) -> Answer {
    let config: AuthConfig = request.json_of_any_type().await?;
    let server = config.server_address.clone();
    let credentials =
        crate::images::credentials_of(config).ok_or_else(|| Failure::bad_request("invalid auth config"))?;
    let token = api.images.login(&server, credentials).await?;
    let identity_token = token.map(|token| Secret::new(token.reveal())).unwrap_or_default();
    let answer = AuthResponse { status: "Login Succeeded".to_owned(), identity_token };
    Ok(reply::ok(&answer))
}

/// Past events, then new ones until the client hangs up or `until` has come.
pub fn events(api: Arc<Api>, request: &Request) -> Answer {
    let (since, until) = (event_time(request, "since")?, event_time(request, "until")?);
    if let (Some(since), Some(until)) = (since, until)
        && until < since
    {
        let text = |name| request.query.text(name).unwrap_or_default();
        let message = format!("`since` time ({}) cannot be after `until` time ({})", text("since"), text("until"));
        return Err(Failure::bad_request(message));
    }
    let wanted = request.query.filters()?;
    let keys = wanted.keys().map(|key| (key.to_owned(), wanted.values(key).map(str::to_owned).collect())).collect();
    // Whoever names an end only wants to see the past too.
    let since = since.or(until.map(|_| 0));
    Ok(reply::json_texts(stream_of(&api.events, since, until, Filter::new(keys), request.version)))
}

/// Nanoseconds; zero is a time like any other.
fn event_time(request: &Request, name: &str) -> Result<Option<i64>, Failure> {
    let Some(text) = request.query.text(name) else { return Ok(None) };
    let invalid = || Failure::bad_request(format!("invalid value for \"{name}\": {text}"));
    parse_time_ns(text).map(Some).ok_or_else(invalid)
}

fn stream_of(
    bus: &Bus,
    since: Option<i64>,
    until: Option<i64>,
    filter: Filter,
    version: ApiVersion,
) -> impl Stream<Item = Event> + use<> {
    let subscription = bus.subscribe(since, filter);
    let deadline = until.map(|until| (until, instant_of(until)));
    stream::unfold(subscription, move |mut subscription| async move {
        loop {
            let event = next(&mut subscription, deadline).await?;
            let event = to_wire(&event);
            if adapt::event_is_shown(&event, version) {
                return Some((event, subscription));
            }
        }
    })
}

async fn next(subscription: &mut Subscription, deadline: Option<(i64, Instant)>) -> Option<Arc<events::Event>> {
    let Some((until, instant)) = deadline else { return subscription.next().await };
    while let Some(kept) = subscription.next_kept() {
        if kept.time_ns <= until {
            return Some(kept);
        }
    }
    tokio::select! {
        event = subscription.next() => event.filter(|event| event.time_ns <= until),
        () = sleep_until(instant) => None,
    }
}

fn instant_of(time_ns: i64) -> Instant {
    let now = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
    Instant::now() + Duration::from_nanos(u64::try_from(time_ns.saturating_sub(now)).unwrap_or(0))
}

fn to_wire(event: &events::Event) -> Event {
    let legacy = matches!(event.subject, Subject::Container | Subject::Image);
    let from = match event.subject {
        Subject::Container => event.attributes.get("image").cloned().unwrap_or_default(),
        _ => String::new(),
    };
    Event {
        status: if legacy { event.action.clone() } else { String::new() },
        id: if legacy { event.id.clone() } else { String::new() },
        from,
        kind: event.subject.as_str().to_owned(),
        action: event.action.clone(),
        actor: Actor { id: event.id.clone(), attributes: event.attributes.clone() },
        scope: "local".to_owned(),
        time: event.time_ns / 1_000_000_000,
        time_nano: event.time_ns,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use futures_util::StreamExt;

    use super::*;

    #[tokio::test]
    async fn a_stream_with_an_end_in_the_past_replays_and_ends() {
        let bus = Bus::default();
        for time_ns in [10, 20, 30] {
            let attributes = BTreeMap::from([("image".to_owned(), "busybox".to_owned())]);
            bus.publish(events::Event {
                subject: Subject::Container,
                action: "die".into(),
                id: "c".into(),
                attributes,
                time_ns,
            });
        }
        let events: Vec<_> = stream_of(&bus, Some(15), Some(25), Filter::default(), ApiVersion::MAX).collect().await;
        assert_eq!(events.iter().map(|e| e.time_nano).collect::<Vec<_>>(), [20]);
        assert_eq!((events[0].from.as_str(), events[0].status.as_str()), ("busybox", "die"));
    }
}
