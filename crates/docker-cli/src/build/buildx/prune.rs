//! `docker buildx prune`: what of the build cache goes, as it goes.

use buildkit_api::control::PruneRequest;

use super::{du, refused};
use crate::build::session;
use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::context::{Context, print, print_line};
use crate::failure::Failure;
use crate::prune::{FORCE, is_wanted};
use crate::text::size::{human_size, parse_bytes};

const FLAGS: &[Flag] = &[
    flag("all", 'a', Kind::Bool, "", "Include internal/frontend images"),
    flag("filter", NONE, Kind::List, "", "Provide filter values (e.g., \"until=24h\")"),
    FORCE,
    flag("keep-storage", NONE, Kind::Bytes, "", "Amount of disk space to keep for cache"),
    flag("verbose", NONE, Kind::Bool, "", "Provide a more verbose output"),
];

pub const COMMAND: Command = Command {
    name: "prune",
    usage: "",
    about: "Remove build cache",
    flags: &[FLAGS],
    args: Args::None,
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let what = if flags.is_set("all") { "all build cache" } else { "all dangling build cache" };
    if !is_wanted(flags, &format!("WARNING! This will remove {what}. Are you sure you want to continue?"))? {
        return Ok(0);
    }
    let (filter, keep_duration) = filters(flags.list("filter"))?;
    let request = PruneRequest {
        filter,
        all: flags.is_set("all"),
        keep_duration,
        reserved_space: parse_bytes(flags.text("keep-storage")).unwrap_or(0),
        ..PruneRequest::default()
    };
    let client = session::connect(context).await?;
    let mut going = client.prune(request).await.map_err(refused)?;
    let mut records = Vec::new();
    while let Some(record) = going.message().await.map_err(|status| refused(status.into()))? {
        records.push(record);
    }
    if !records.is_empty() {
        print(&if flags.is_set("verbose") { du::verbose(&records) } else { du::table(&records) })?;
    }
    let total = records.iter().map(|record| record.size).fold(0, i64::saturating_add);
    print_line(&format!("Total:\t{}", human_size(total)))?;
    Ok(0)
}

/// `until=24h` is a time in nanoseconds; the rest is the builder's.
fn filters(given: &[String]) -> Result<(Vec<String>, i64), Failure> {
    let (mut rest, mut keep) = (Vec::new(), 0);
    for text in given {
        match text.split_once('=') {
            Some(("until" | "unused-for", span)) => {
                keep = go_text::duration::read_duration(span).map_err(Failure::Text)?;
            }
            _ => rest.push(text.clone()),
        }
    }
    Ok((rest, keep))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_no_filter_of_the_builder_s() {
        let (rest, keep) = filters(&["until=1h".to_owned(), "type=regular".to_owned()]).unwrap();
        assert_eq!((rest, keep), (vec!["type=regular".to_owned()], 3_600_000_000_000));
        assert!(filters(&["until=soon".to_owned()]).is_err());
    }
}
