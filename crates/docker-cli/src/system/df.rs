//! `docker system df`.

use engine_api::container::Summary as Container;
use engine_api::image::Summary as Image;
use engine_api::system::{DiskUsage, Stored};
use engine_api::volume::Volume;
use engine_client::Request;
use serde::Deserialize;

use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::container::list::FORMAT_USAGE;
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::format::{Column, Field, Format};
use crate::template::{Mode, Template, Value};
use crate::text::ellipsis::short_id;
use crate::text::size::{human_size, human_size_with_precision};
use crate::text::time;
use crate::{container, image, volume};

use super::why;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("format", NONE, Kind::Text, "", FORMAT_USAGE),
    flag("verbose", 'v', Kind::Bool, "", "Show detailed information on space usage"),
    flag("why", NONE, Kind::Bool, "", "Show who holds each byte (with --verbose)"),
];

pub const COMMAND: Command = Command {
    name: "df",
    usage: "[OPTIONS]",
    about: "Show docker disk usage",
    flags: &[FLAGS],
    args: Args::None,
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

const TABLE: &str = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";
const COLUMNS: &[Column] = &[
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
];
const RAW: &str =
    "type: {{.Type}}\ntotal: {{.TotalCount}}\nactive: {{.Active}}\nsize: {{.Size}}\nreclaimable: {{.Reclaimable}}\n";
const RAW_DETAILS: &str = "{{- range .Images}}type: Image\nrepository: {{.Repository}}\ntag: {{.Tag}}\ndigest: {{.Digest}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n\n{{end -}}
{{- range .Containers}}type: Container\ncontainer_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\nstate: {{- pad .State 1 0}}\nstatus: {{- pad .Status 1 0}}\nnames: {{.Names}}\nlabels: {{- pad .Labels 1 0}}\nports: {{- pad .Ports 1 0}}\nsize: {{.Size}}\n\n{{end -}}
{{- range .Volumes}}type: Volume\nname: {{.Name}}\ndriver: {{.Driver}}\n\n{{end -}}
{{- range .BuildCache}}type: Build Cache\nbuild_cache_id: {{.ID}}\nparent_id: {{.Parent}}\nbuild_cache_type: {{.CacheType}}\ndescription: {{.Description}}\ncreated_at: {{.CreatedAt}}\ncreated_since: {{.CreatedSince}}\nlast_used_at: {{.LastUsedAt}}\nlast_used_since: {{.LastUsedSince}}\nusage_count: {{.UsageCount}}\nin_use: {{.InUse}}\nshared: {{.Shared}}\n\n{{end -}}";
const IMAGES: &str = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}";
const CONTAINERS: &str =
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}";
const VOLUMES: &str = "{{.Name}}\t{{.Links}}\t{{.Size}}";
const CACHE: &str =
    "{{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}";
const CACHE_COLUMNS: &[Column] = &[
    ("ID", "CACHE ID"),
    ("Parent", "PARENT"),
    ("CacheType", "CACHE TYPE"),
    ("Size", "SIZE"),
    ("CreatedSince", "CREATED"),
    ("LastUsedSince", "LAST USED"),
    ("UsageCount", "USAGE"),
    ("InUse", "IN USE"),
    ("Shared", "SHARED"),
    ("Description", "DESCRIPTION"),
];

/// A record of the build cache.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Cached {
    #[serde(rename = "ID")]
    id: String,
    /// Docker's client does not know the list of several that newer daemons send.
    parent: String,
    #[serde(rename = "Type")]
    kind: String,
    description: String,
    in_use: bool,
    shared: bool,
    size: i64,
    created_at: String,
    last_used_at: Option<String>,
    usage_count: i64,
}

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let verbose = flags.is_set("verbose");
    let asked = match flags.text("format") {
        "raw" if verbose => RAW_DETAILS,
        "raw" => RAW,
        asked => asked,
    };
    let format = Format::new(asked, TABLE, "diskUsageContext");
    format.check()?;
    let why = flags.is_set("why");
    if why && !verbose {
        return Err(Failure::text("the --why option requires --verbose"));
    }
    let usage: DiskUsage = context.client.call(Request::get("/system/df").with_flag("why", why)).await?;
    if why && usage.stored.is_none() {
        return Err(Failure::text("this daemon does not tell who holds what: --why needs one of Longshore"));
    }
    let images = usage.images.unwrap_or_default();
    let containers = usage.containers.unwrap_or_default();
    let volumes = usage.volumes.unwrap_or_default();
    let records = usage.build_cache.unwrap_or_default().into_iter().map(serde_json::from_value::<Cached>);
    let mut cache: Vec<Cached> = records.collect::<Result<_, _>>().map_err(|error| Failure::Text(error.to_string()))?;
    let text = if verbose {
        cache.sort_by(|a, b| (&a.last_used_at, &a.id).cmp(&(&b.last_used_at, &b.id)));
        details(asked, &images, containers, &volumes, &cache, usage.stored.as_deref())?
    } else {
        let rows = vec![
            images_row(usage.layers_size, &images),
            containers_row(&containers),
            volumes_row(&volumes),
            cache_row(&cache),
        ];
        format.render(COLUMNS, rows)?
    };
    context::print(&text)?;
    Ok(0)
}

fn total_row(kind: &str, count: usize, active: usize, size: i64, reclaimable: String) -> Vec<Field> {
    vec![
        ("Type", Value::text(kind)),
        ("TotalCount", Value::text(count.to_string())),
        ("Active", Value::text(active.to_string())),
        ("Size", Value::text(human_size(size))),
        ("Reclaimable", Value::text(reclaimable)),
    ]
}

/// `1.2GB (50%)`.
fn share(part: i64, whole: i64) -> String {
    let shown = human_size(part);
    if whole > 0 { format!("{shown} ({}%)", i128::from(part) * 100 / i128::from(whole)) } else { shown }
}

fn images_row(layers: i64, images: &[Image]) -> Vec<Field> {
    let used: i64 = images
        .iter()
        .filter(|image| image.containers != 0 && image.size != -1 && image.shared_size != -1)
        .map(|image| image.size - image.shared_size)
        .sum();
    let active = images.iter().filter(|image| image.containers > 0).count();
    total_row("Images", images.len(), active, layers, share(layers - used, layers))
}

fn containers_row(containers: &[Container]) -> Vec<Field> {
    let is_active = |one: &&Container| matches!(one.state.as_str(), "running" | "paused" | "restarting");
    let size: i64 = containers.iter().map(|one| one.size_rw).sum();
    let used: i64 = containers.iter().filter(is_active).map(|one| one.size_rw).sum();
    let active = containers.iter().filter(is_active).count();
    total_row("Containers", containers.len(), active, size, share(size - used, size))
}

fn volumes_row(volumes: &[Volume]) -> Vec<Field> {
    let usages = || volumes.iter().filter_map(|volume| volume.usage_data.as_ref());
    let known = || usages().filter(|usage| usage.size != -1);
    let size: i64 = known().map(|usage| usage.size).sum();
    let free: i64 = known().filter(|usage| usage.ref_count == 0).map(|usage| usage.size).sum();
    let active = usages().filter(|usage| usage.ref_count > 0).count();
    total_row("Local Volumes", volumes.len(), active, size, share(free, size))
}

fn cache_row(cache: &[Cached]) -> Vec<Field> {
    let size = cache_size(cache);
    let used: i64 = cache.iter().filter(|one| one.in_use && !one.shared).map(|one| one.size).sum();
    let active = cache.iter().filter(|one| one.in_use).count();
    total_row("Build Cache", cache.len(), active, size, human_size(size - used))
}

fn cache_size(cache: &[Cached]) -> i64 {
    cache.iter().filter(|one| !one.shared).map(|one| one.size).sum()
}

/// Every object, in four tables or as a template has them.
fn details(
    asked: &str,
    images: &[Image],
    containers: Vec<Container>,
    volumes: &[Volume],
    cache: &[Cached],
    stored: Option<&[Stored]>,
) -> Result<String, Failure> {
    let is_table = matches!(asked, "" | "table");
    let full = !is_table;
    let image_rows: Vec<Vec<Field>> = images.iter().map(|one| image::list::first_row(one, full)).collect();
    let container_rows: Vec<Vec<Field>> = containers
        .into_iter()
        // The size of the image below is its own row's.
        .map(|one| container::list::row(&Container { size_root_fs: 0, ..one }, full))
        .collect();
    let volume_rows: Vec<Vec<Field>> = volumes.iter().map(volume::list::row).collect();
    let cache_rows: Vec<Vec<Field>> = cache.iter().map(|one| cached_row(one, full)).collect();
    if !is_table {
        let stored = stored.map(|stored| stored.iter().map(|one| why::row(one, true)).collect());
        return template(asked, [Some(image_rows), Some(container_rows), Some(volume_rows), Some(cache_rows), stored]);
    }
    let table = |title: &str, template: &str, row_type, columns, rows| -> Result<String, Failure> {
        Ok(format!("{title}\n\n{}", Format::new("", template, row_type).render(columns, rows)?))
    };
    let mut tables = vec![
        table("Images space usage:", IMAGES, "imageContext", image::list::COLUMNS, image_rows)?,
        table("Containers space usage:", CONTAINERS, "ContainerContext", container::list::COLUMNS, container_rows)?,
        table("Local Volumes space usage:", VOLUMES, "volumeContext", volume::list::COLUMNS, volume_rows)?,
        table(
            &format!("Build cache usage: {}", human_size(cache_size(cache))),
            CACHE,
            "buildCacheContext",
            CACHE_COLUMNS,
            cache_rows,
        )?,
    ];
    if let Some(stored) = stored {
        tables.push(why::table(stored)?);
    }
    Ok(tables.join("\n"))
}

fn template(asked: &str, rows: [Option<Vec<Vec<Field>>>; 5]) -> Result<String, Failure> {
    let text = if asked == "json" { "{{json .}}" } else { asked };
    let template =
        Template::parse(text).map_err(|error| Failure::Text(format!("failed to parse template: {error}")))?;
    let list = |rows: Vec<Vec<Field>>| {
        let row = |mut row: Vec<Field>| {
            row.sort_by_key(|(name, _)| *name);
            Value::structure(row.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
        };
        Value::List(rows.into_iter().map(row).collect())
    };
    let names = ["Images", "Containers", "Volumes", "BuildCache", "Stored"];
    let members = names.into_iter().zip(rows).filter_map(|(name, rows)| Some((name.to_owned(), list(rows?))));
    let value = Value::structure(members.collect());
    template.render(&value, Mode::Row).map_err(|error| Failure::Text(error.to_string()))
}

fn cached_row(one: &Cached, full: bool) -> Vec<Field> {
    let cut = |id: &str| if full { id.to_owned() } else { short_id(id).to_owned() };
    let ago = |text: &str| time::parse(text).map_or_else(String::new, |moment| time::ago(moment.as_second()));
    let last = one.last_used_at.as_deref();
    vec![
        ("ID", Value::text(cut(&one.id) + if one.in_use { "*" } else { "" })),
        ("Parent", Value::text(cut(&one.parent))),
        ("CacheType", Value::text(one.kind.as_str())),
        ("Description", Value::text(one.description.as_str())),
        ("Size", Value::text(human_size_with_precision(one.size, 3))),
        ("CreatedAt", Value::text(time::go_time(&one.created_at))),
        ("CreatedSince", Value::text(ago(&one.created_at))),
        ("LastUsedAt", Value::text(last.map_or_else(String::new, time::go_time))),
        ("LastUsedSince", Value::text(last.map_or_else(String::new, ago))),
        ("UsageCount", Value::text(one.usage_count.to_string())),
        ("InUse", Value::text(one.in_use.to_string())),
        ("Shared", Value::text(one.shared.to_string())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_no_percent_of_nothing() {
        assert_eq!(share(500, 1000), "500B (50%)");
        assert_eq!(share(0, 0), "0B");
    }

    #[test]
    fn images_of_containers_are_not_reclaimable() {
        let image = |containers, size, shared_size| Image { containers, size, shared_size, ..Image::default() };
        let row = images_row(1000, &[image(1, 400, 100), image(0, 300, 0), image(2, 50, -1)]);
        let cells: Vec<String> = row.into_iter().map(|(_, value)| value.to_string()).collect();
        assert_eq!(cells, ["Images", "3", "2", "1kB", "700B (70%)"]);
    }
}
