//! `docker network prune`.

use engine_api::filters::Filters;
use engine_api::network::PruneReport;
use engine_client::Request;

use crate::command::{Args, Command, Flag, Matches};
use crate::context::Context;
use crate::failure::Failure;
use crate::prune::{self, Report, filter};

const FLAGS: &[Flag] = &[prune::FORCE, filter("Provide filter values (e.g. \"until=<timestamp>\")")];

pub const COMMAND: Command = Command {
    name: "prune",
    usage: "[OPTIONS]",
    about: "Remove all unused networks",
    flags: &[FLAGS],
    args: Args::None,
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

const WARNING: &str = "WARNING! This will remove all custom networks not used by at least one container.\nAre you sure you want to continue?";

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let filters = prune::filters(context, flags)?;
    if !prune::is_wanted(flags, WARNING)? {
        return Ok(0);
    }
    remove(context, &filters).await?.print()?;
    Ok(0)
}

/// Removes the user's networks that nobody is in.
pub async fn remove(context: &Context, filters: &Filters) -> Result<Report, Failure> {
    let request = Request::post("/networks/prune").with_some("filters", filters.encode().unwrap_or_default());
    let report: PruneReport = context.client.call(request).await?;
    Ok(Report::new("Deleted Networks", report.networks_deleted.unwrap_or_default(), 0))
}
