//! `docker volume prune`.

use engine_api::ApiVersion;
use engine_api::filters::Filters;
use engine_api::volume::PruneReport;
use engine_client::Request;

use crate::command::{Args, Command, Flag, Kind, Matches, flag};
use crate::context::Context;
use crate::failure::Failure;
use crate::prune::{self, Report, filter};

const FLAGS: &[Flag] = &[
    flag("all", 'a', Kind::Bool, "", "Remove all unused volumes, not just anonymous ones"),
    prune::FORCE,
    filter("Provide filter values (e.g. \"label=<label>\")"),
];

pub const COMMAND: Command = Command {
    name: "prune",
    usage: "[OPTIONS]",
    about: "Remove unused local volumes",
    flags: &[FLAGS],
    args: Args::None,
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

const ANONYMOUS: &str = "WARNING! This will remove anonymous local volumes not used by at least one container.\nAre you sure you want to continue?";
const ALL: &str = "WARNING! This will remove all local volumes not used by at least one container.\nAre you sure you want to continue?";
/// Before this version every unused volume went.
const SPARES_NAMED: ApiVersion = ApiVersion::new(1, 42);

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let mut filters = prune::filters(context, flags)?;
    let all = flags.is_set("all");
    let spares_named = context.client.version().await? >= SPARES_NAMED;
    if all && spares_named {
        if filters.has("all") {
            return Err(Failure::text("conflicting options: cannot specify both --all and --filter all=1"));
        }
        filters.add("all", "true");
    }
    if !prune::is_wanted(flags, if all || !spares_named { ALL } else { ANONYMOUS })? {
        return Ok(0);
    }
    let report = remove(context, &filters).await?;
    report.print()?;
    prune::print_total(report.bytes)?;
    Ok(0)
}

/// Removes volumes that no container has.
pub async fn remove(context: &Context, filters: &Filters) -> Result<Report, Failure> {
    let request = Request::post("/volumes/prune").with_some("filters", filters.encode().unwrap_or_default());
    let report: PruneReport = context.client.call(request).await?;
    Ok(Report::new("Deleted Volumes", report.volumes_deleted.unwrap_or_default(), report.space_reclaimed))
}
