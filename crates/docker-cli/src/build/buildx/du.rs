//! `docker buildx du`: what the build cache holds.

use std::fmt::Write as _;

use buildkit_api::control::UsageRecord;

use super::refused;
use crate::build::session;
use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::context::{Context, print};
use crate::failure::Failure;
use crate::text::size::human_size;
use crate::text::table::align;
use crate::text::time::ago;

const FLAGS: &[Flag] = &[
    flag("filter", NONE, Kind::List, "", "Provide filter values"),
    flag("verbose", NONE, Kind::Bool, "", "Provide a more verbose output"),
];

pub const COMMAND: Command = Command {
    name: "du",
    usage: "",
    about: "Disk usage",
    flags: &[FLAGS],
    args: Args::None,
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let client = session::connect(context).await?;
    let mut records = client.disk_usage(flags.list("filter").to_vec()).await.map_err(refused)?;
    records.sort_by_key(|record| std::cmp::Reverse(record.size));
    print(&if flags.is_set("verbose") { verbose(&records) } else { table(&records) })?;
    print(&totals(&records))?;
    Ok(0)
}

/// The records as rows.
pub(super) fn table(records: &[UsageRecord]) -> String {
    let mut rows = "ID\tRECLAIMABLE\tSIZE\tLAST ACCESSED\n".to_owned();
    for record in records {
        let used = record.last_used_at.map(|time| ago(time.seconds)).unwrap_or_default();
        let (shared, mark) = (if record.shared { "*" } else { "" }, if record.mutable { "*" } else { "" });
        let size = human_size(record.size);
        let _ = writeln!(rows, "{}{mark}\t{}\t{size}{shared}\t{used}", record.id, !record.in_use);
    }
    align(&rows)
}

/// Each record as a block of lines.
pub(super) fn verbose(records: &[UsageRecord]) -> String {
    let mut out = String::new();
    for record in records {
        let mut line = |key: &str, value: &str| {
            if !value.is_empty() {
                let _ = writeln!(out, "{key}:\t{value}");
            }
        };
        line("ID", &record.id);
        line("Parents", &record.parents.join(", "));
        line("Created at", &record.created_at.map(|time| time.to_string()).unwrap_or_default());
        line("Mutable", &record.mutable.to_string());
        line("Reclaimable", &(!record.in_use).to_string());
        line("Shared", &record.shared.to_string());
        line("Size", &human_size(record.size));
        line("Description", &record.description);
        line("Usage count", &record.usage_count.to_string());
        line("Last used", &record.last_used_at.map(|time| ago(time.seconds)).unwrap_or_default());
        line("Type", &record.record_type);
        out.push('\n');
    }
    align(&out)
}

fn totals(records: &[UsageRecord]) -> String {
    let sum = |wanted: &dyn Fn(&UsageRecord) -> bool| {
        let sizes = records.iter().filter(|record| wanted(record)).map(|record| record.size);
        sizes.fold(0, i64::saturating_add)
    };
    let mut rows = String::new();
    let shared = sum(&|record| record.shared);
    if shared > 0 {
        let private = human_size(sum(&|record| !record.shared));
        let _ = writeln!(rows, "Shared:\t{}\nPrivate:\t{private}", human_size(shared));
    }
    let reclaimable = human_size(sum(&|record| !record.in_use));
    let _ = writeln!(rows, "Reclaimable:\t{reclaimable}\nTotal:\t{}", human_size(sum(&|_| true)));
    align(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_rows_with_their_sum() {
        let record = |id: &str, size, in_use| UsageRecord { id: id.to_owned(), size, in_use, ..UsageRecord::default() };
        let records = [record("a", 1_500, false), record("b", 500, true)];
        let rows: Vec<String> = table(&records).lines().map(|line| line.trim_end().to_owned()).collect();
        assert_eq!(rows[0], "ID        RECLAIMABLE   SIZE      LAST ACCESSED");
        assert_eq!(rows[1], "a         true          1.5kB");
        assert_eq!(totals(&records), "Reclaimable:   1.5kB\nTotal:         2kB\n");
    }
}
