//! `docker container prune`.

use engine_api::container::PruneReport;
use engine_api::filters::Filters;
use engine_client::Request;

use crate::command::{Args, Command, Flag, Matches};
use crate::context::Context;
use crate::failure::Failure;
use crate::prune::{self, Report, filter};

const FLAGS: &[Flag] = &[prune::FORCE, filter("Provide filter values (e.g. \"until=<timestamp>\")")];

pub const COMMAND: Command = Command {
    name: "prune",
    usage: "[OPTIONS]",
    about: "Remove all stopped containers",
    flags: &[FLAGS],
    args: Args::None,
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

const WARNING: &str = "WARNING! This will remove all stopped containers.\nAre you sure you want to continue?";

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let filters = prune::filters(context, flags)?;
    if !prune::is_wanted(flags, WARNING)? {
        return Ok(0);
    }
    let report = remove(context, &filters).await?;
    report.print()?;
    prune::print_total(report.bytes)?;
    Ok(0)
}

/// Removes what has stopped.
pub async fn remove(context: &Context, filters: &Filters) -> Result<Report, Failure> {
    let request = Request::post("/containers/prune").with_some("filters", filters.encode().unwrap_or_default());
    let report: PruneReport = context.client.call(request).await?;
    let names = report.containers_deleted.unwrap_or_default();
    Ok(Report::new("Deleted Containers", names, report.space_reclaimed))
}
