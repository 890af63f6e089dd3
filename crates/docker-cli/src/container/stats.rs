//! `docker stats`.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine_api::container::Summary;
use engine_api::event::Event;
use engine_api::filters::Filters;
use engine_api::stats::Stats;
use engine_client::{Client, Lines, Request, escape};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::list::FORMAT_USAGE;
use super::usage::{COLUMNS, TABLE, Usage, row};
use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::format::Format;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("all", 'a', Kind::Bool, "", "Show all containers (default shows just running)"),
    flag("format", NONE, Kind::Text, "", FORMAT_USAGE),
    flag("no-stream", NONE, Kind::Bool, "", "Disable streaming stats and only pull the first result"),
    flag("no-trunc", NONE, Kind::Bool, "", "Do not truncate output"),
];

pub const COMMAND: Command = Command {
    name: "stats",
    usage: "[OPTIONS] [CONTAINER...]",
    about: "Display a live stream of container(s) resource usage statistics",
    aliases: "docker container stats, docker stats",
    flags: &[FLAGS],
    args: Args::AtLeast(0),
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

/// How often the table is drawn.
const PERIOD: Duration = Duration::from_millis(500);
/// After so long without a sample a container is shown without figures.
const PATIENCE: Duration = Duration::from_secs(2);
/// Containers that are followed at a time.
const MAX_FOLLOWED: usize = 10_000;

/// One container that is followed.
#[derive(Debug)]
struct Followed {
    /// As it was asked for.
    name: String,
    usage: Mutex<Usage>,
    error: Mutex<Option<String>>,
    /// Ends with this.
    task: Mutex<Option<JoinHandle<()>>>,
}

/// Everybody who is followed, in the order in which they came.
#[derive(Debug, Clone)]
struct Followers {
    client: Arc<Client>,
    stream: bool,
    list: Arc<Mutex<Vec<Arc<Followed>>>>,
}

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let asked = match flags.text("format") {
        "" if !context.config.stats_format.is_empty() => context.config.stats_format.as_str(),
        asked => asked,
    };
    let format = Format::new(asked, TABLE, "container.statsContext");
    let stream = !flags.is_set("no-stream");
    let followers = Followers { client: context.client.clone(), stream, list: Arc::default() };
    let mut watch = None;
    if flags.args.is_empty() {
        let all = flags.is_set("all");
        // Subscribed first: what starts between the list and the events would be missed.
        let events = subscribe(&context.client).await?;
        let list: Vec<Summary> = context.client.call(Request::get("/containers/json").with_flag("all", all)).await?;
        let first: Vec<Arc<Followed>> = list.iter().filter_map(|one| followers.add(short(&one.id))).collect();
        watch = Some(tokio::spawn(followers.clone().watch(events, all)));
        followers.wait_for(&first).await;
    } else {
        let first: Vec<Arc<Followed>> = flags.args.iter().filter_map(|name| followers.add(name)).collect();
        followers.wait_for(&first).await;
        let errors: Vec<String> = first.iter().filter_map(|one| lock(&one.error).clone()).collect();
        if !errors.is_empty() {
            return Err(Failure::Text(errors.join("\n")));
        }
    }
    let full = flags.is_set("no-trunc");
    if !stream {
        context::print(&followers.table(&format, full)?)?;
        return Ok(0);
    }
    let result = draw(&followers, &format, full, watch.as_mut()).await;
    drop(watch);
    result
}

/// Draws the table over itself until somebody ends it, or the daemon's events do.
async fn draw(
    followers: &Followers,
    format: &Format,
    full: bool,
    mut watch: Option<&mut JoinHandle<Result<(), Failure>>>,
) -> Result<u8, Failure> {
    loop {
        tokio::time::sleep(PERIOD).await;
        // Home; each line clears what a longer one left; then what a longer table left.
        let mut text = String::from("\x1b[H");
        for line in followers.table(format, full)?.split('\n') {
            text.push_str(line);
            text.push_str(" \x1b[K\n");
        }
        text.push_str("\x1b[J");
        context::write_all(text.as_bytes())?;
        std::io::stdout().flush()?;
        if let Some(watch) = watch.as_mut()
            && watch.is_finished()
        {
            return match watch.await {
                Ok(Ok(())) | Err(_) => Ok(0),
                Ok(Err(failure)) => Err(failure),
            };
        }
    }
}

async fn subscribe(client: &Client) -> Result<Lines, Failure> {
    let mut filters = Filters::default();
    filters.add("type", "container");
    let request = Request::get("/events").with_some("filters", filters.encode().unwrap_or_default());
    Ok(client.stream(request).await?.lines())
}

fn short(id: &str) -> &str {
    crate::text::ellipsis::short_id(id)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Followers {
    /// Starts to follow; nothing when it is followed already.
    fn add(&self, name: &str) -> Option<Arc<Followed>> {
        let mut list = lock(&self.list);
        if list.len() >= MAX_FOLLOWED || list.iter().any(|one| one.name == name) {
            return None;
        }
        let followed = Arc::new(Followed {
            name: name.to_owned(),
            usage: Mutex::new(Usage::default()),
            error: Mutex::new(None),
            task: Mutex::new(None),
        });
        list.push(followed.clone());
        let (client, stream, one) = (self.client.clone(), self.stream, followed.clone());
        *lock(&followed.task) = Some(tokio::spawn(async move { one.follow(&client, stream).await }));
        Some(followed)
    }

    fn remove(&self, name: &str) {
        lock(&self.list).retain(|one| {
            let stays = one.name != name;
            if !stays && let Some(task) = lock(&one.task).take() {
                task.abort();
            }
            stays
        });
    }

    /// Until each has a sample, or will not have one soon.
    async fn wait_for(&self, first: &[Arc<Followed>]) {
        let has_answered = |one: &Arc<Followed>| lock(&one.usage).is_known() || lock(&one.error).is_some();
        let all = async {
            while !first.iter().all(has_answered) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        // The tasks say themselves what they waited for in vain.
        let _ = timeout(PATIENCE + PERIOD, all).await;
    }

    /// Containers come and go.
    async fn watch(self, mut events: Lines, all: bool) -> Result<(), Failure> {
        while let Some(event) = events.next::<Event>().await? {
            let id = short(&event.actor.id);
            match event.action.as_str() {
                "create" if all => drop(self.add(id)),
                "start" => drop(self.add(id)),
                "die" if !all => self.remove(id),
                _ => {}
            }
        }
        Ok(())
    }

    fn table(&self, format: &Format, full: bool) -> Result<String, Failure> {
        let rows = lock(&self.list).iter().map(|one| row(&one.name, &lock(&one.usage), full)).collect();
        format.render(COLUMNS, rows)
    }
}

impl Followed {
    async fn follow(&self, client: &Client, stream: bool) {
        let request = Request::get(format!("/containers/{}/stats", escape(&self.name)))
            .with("stream", if stream { "1" } else { "0" });
        let mut lines = match client.stream(request).await {
            Ok(body) => body.lines(),
            Err(error) => return self.fail(error.to_string()),
        };
        loop {
            match timeout(PATIENCE, lines.next::<Stats>()).await {
                Ok(Ok(Some(sample))) => {
                    *lock(&self.usage) = Usage::of(&sample);
                    *lock(&self.error) = None;
                }
                Ok(Ok(None)) => return self.fail("EOF".to_owned()),
                Ok(Err(error)) => return self.fail(error.to_string()),
                Err(_) => {
                    lock(&self.usage).forget();
                    *lock(&self.error) = Some("timeout waiting for stats".to_owned());
                }
            }
            if !stream {
                return;
            }
        }
    }

    fn fail(&self, reason: String) {
        lock(&self.usage).forget();
        *lock(&self.error) = Some(reason);
    }
}
