//! `docker system prune`.

use engine_api::filters::Filters;
use engine_client::Request;
use serde::Deserialize;

use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::image::prune::Reach;
use crate::network::list::natural;
use crate::prune::{self, Report, filter};
use crate::{container, image, network, volume};

const FLAGS: &[Flag] = &[
    flag("all", 'a', Kind::Bool, "", "Remove all unused images not just dangling ones"),
    prune::FORCE,
    filter("Provide filter values (e.g. \"label=<key>=<value>\")"),
    flag("volumes", NONE, Kind::Bool, "", "Prune anonymous volumes"),
];

pub const COMMAND: Command = Command {
    name: "prune",
    usage: "[OPTIONS]",
    about: "Remove unused data",
    flags: &[FLAGS],
    args: Args::None,
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let (all, volumes) = (flags.is_set("all"), flags.is_set("volumes"));
    if volumes && container::list::read_filters(flags)?.has("until") {
        return Err(Failure::text("ERROR: The \"until\" filter is not supported with \"--volumes\""));
    }
    let filters = prune::filters(context, flags)?;
    if !prune::is_wanted(flags, &question(all, volumes, &filters))? {
        return Ok(0);
    }
    let mut bytes = 0;
    // Each is told as soon as it is done: a later one may fail.
    let mut tell = |report: Report| {
        bytes += report.bytes;
        report.print()
    };
    tell(container::prune::remove(context, &filters).await?)?;
    tell(network::prune::remove(context, &filters).await?)?;
    if volumes {
        tell(volume::prune::remove(context, &filters).await?)?;
    }
    let reach = if all { Reach::All } else { Reach::Dangling };
    tell(image::prune::remove(context, filters.clone(), reach).await?)?;
    let cache = build_cache(context, all, &filters).await?;
    bytes += cache.bytes;
    if !cache.text.is_empty() {
        context::print_line(&cache.text)?;
    }
    prune::print_total(bytes)?;
    Ok(0)
}

fn question(all: bool, volumes: bool, filters: &Filters) -> String {
    let mut parts = vec!["all stopped containers", "all networks not used by at least one container"];
    if volumes {
        parts.push("all anonymous volumes not used by at least one container");
    }
    parts.push(if all {
        "all images without at least one container associated to them"
    } else {
        "all dangling images"
    });
    parts.push(if all { "all build cache" } else { "unused build cache" });
    let list = |lines: &[String]| lines.iter().map(|line| format!("\n  - {line}")).collect::<String>();
    let parts: Vec<String> = parts.into_iter().map(str::to_owned).collect();
    let mut terms: Vec<String> = ["label", "label!", "until"]
        .into_iter()
        .flat_map(|key| filters.values(key).map(move |value| format!("{key}={value}")))
        .collect();
    terms.sort_by_key(|term| natural(term));
    let filtered = if terms.is_empty() {
        String::new()
    } else {
        format!("\n  Items to be pruned will be filtered with:{}\n", list(&terms))
    };
    format!("WARNING! This will remove:{}\n{filtered}\nAre you sure you want to continue?", list(&parts))
}

/// Answer to `POST /build/prune`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct CacheReport {
    caches_deleted: Option<Vec<String>>,
    space_reclaimed: u64,
}

async fn build_cache(context: &Context, all: bool, filters: &Filters) -> Result<Report, Failure> {
    let request =
        Request::post("/build/prune").with_flag("all", all).with("filters", filters.encode().unwrap_or_default());
    let report: CacheReport = context.client.call(request).await?;
    let names = report.caches_deleted.unwrap_or_default();
    let text = Report::new("Deleted build cache objects", names, 0).text;
    // Space may come back without a name for it.
    Ok(Report { bytes: report.space_reclaimed, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_names_everything_that_goes() {
        let mut filters = Filters::default();
        assert_eq!(
            question(false, false, &filters),
            "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n  - all dangling images\n  - unused build cache\n\nAre you sure you want to continue?"
        );
        filters.add("until", "24h");
        filters.add("label", "a=10");
        filters.add("label", "a=9");
        let text = question(true, true, &filters);
        assert!(text.contains("\n  - all build cache\n\n  Items to be pruned will be filtered with:\n  - label=a=9\n  - label=a=10\n  - until=24h\n\nAre you"), "{text}");
    }
}
