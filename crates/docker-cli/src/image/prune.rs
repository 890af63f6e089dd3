//! `docker image prune`.

use engine_api::filters::Filters;
use engine_api::image::{DeleteResponse, PruneReport};
use engine_client::Request;

use crate::command::{Args, Command, Flag, Kind, Matches, flag};
use crate::context::Context;
use crate::failure::Failure;
use crate::prune::{self, Report, filter};

const FLAGS: &[Flag] = &[
    flag("all", 'a', Kind::Bool, "", "Remove all unused images, not just dangling ones"),
    prune::FORCE,
    filter("Provide filter values (e.g. \"until=<timestamp>\")"),
];

pub const COMMAND: Command = Command {
    name: "prune",
    usage: "[OPTIONS]",
    about: "Remove unused images",
    flags: &[FLAGS],
    args: Args::None,
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

const ALL: &str = "WARNING! This will remove all images without at least one container associated to them.\nAre you sure you want to continue?";
const DANGLING: &str = "WARNING! This will remove all dangling images.\nAre you sure you want to continue?";

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let reach = if flags.is_set("all") { Reach::All } else { Reach::Dangling };
    let filters = prune::filters(context, flags)?;
    if !prune::is_wanted(flags, if reach == Reach::All { ALL } else { DANGLING })? {
        return Ok(0);
    }
    let report = remove(context, filters, reach).await?;
    report.print()?;
    prune::print_total(report.bytes)?;
    Ok(0)
}

/// Which images go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Those that no container uses.
    All,
    /// Of them, those without a name.
    Dangling,
}

pub async fn remove(context: &Context, mut filters: Filters, reach: Reach) -> Result<Report, Failure> {
    filters.add("dangling", (reach == Reach::Dangling).to_string());
    let request = Request::post("/images/prune").with_some("filters", filters.encode().unwrap_or_default());
    let report: PruneReport = context.client.call(request).await?;
    let line = |line: DeleteResponse| match line.untagged.as_str() {
        "" => format!("deleted: {}", line.deleted),
        name => format!("untagged: {name}"),
    };
    let lines = report.images_deleted.unwrap_or_default().into_iter().map(line);
    Ok(Report::new("Deleted Images", lines, report.space_reclaimed))
}
