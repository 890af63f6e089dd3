//! `docker system df --why`: who holds each byte of the store.

use engine_api::system::Stored;

use crate::failure::Failure;
use crate::format::{Column, Field, Format};
use crate::template::Value;
use crate::text::ellipsis::short_id;
use crate::text::size::human_size;

const TABLE: &str = "{{.Kind}}\t{{.ID}}\t{{.Size}}\t{{.HeldBy}}";
const COLUMNS: &[Column] = &[("Kind", "KIND"), ("ID", "ID"), ("Size", "SIZE"), ("HeldBy", "HELD BY")];
/// Of what goes with the next collection.
const NOBODY: &str = "nobody";

/// A table under its title, the largest first as they come.
pub fn table(stored: &[Stored]) -> Result<String, Failure> {
    let total: i64 = stored.iter().map(|one| one.size.max(0)).sum();
    let rows = stored.iter().map(|one| row(one, false)).collect();
    let table = Format::new("", TABLE, "storedContext").render(COLUMNS, rows)?;
    Ok(format!("Held bytes: {}\n\n{table}", human_size(total)))
}

/// One thing; `full` leaves ids as they are.
pub fn row(one: &Stored, full: bool) -> Vec<Field> {
    let id = if full || one.kind == "volume" { one.id.clone() } else { short(&one.id) };
    let size = if one.size < 0 { "N/A".to_owned() } else { human_size(one.size) };
    let holder = |holder: &String| if full { holder.clone() } else { shorten(holder) };
    let holders = match &one.held_by[..] {
        [] => NOBODY.to_owned(),
        some => some.iter().map(holder).collect::<Vec<_>>().join(", "),
    };
    vec![
        ("Kind", Value::text(one.kind.as_str())),
        ("ID", Value::text(id)),
        ("Size", Value::text(size)),
        ("HeldBy", Value::text(holders)),
    ]
}

/// Digests and container ids to twelve digits; of an ingest's key and the like what is before the digits, too.
fn short(id: &str) -> String {
    match id.rsplit_once("sha256:") {
        Some((before, digits)) => format!("{before}{}", short_id(digits)),
        None if id.len() == 64 => short_id(id).to_owned(),
        None => id.to_owned(),
    }
}

/// `image sha256:…`, of one without a name; `build cache sha256:…`.
fn shorten(holder: &str) -> String {
    match holder.rsplit_once(' ') {
        Some((kind, id)) if id.starts_with("sha256:") => format!("{kind} {}", short(id)),
        _ => holder.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_is_shown_with_who_holds_it() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let one = |kind: &str, id: &str, size, held_by: &[&str]| Stored {
            kind: kind.to_owned(),
            id: id.to_owned(),
            size,
            held_by: held_by.iter().map(|holder| (*holder).to_owned()).collect(),
        };
        let shown = table(&[
            one("snapshot", &digest, 4_000_000, &["image busybox:latest", "container web"]),
            one("ingest", &format!("layer-{digest}"), 1000, &[]),
            one("blob", &digest, 500, &[&format!("image {digest}")]),
            one("volume", "data", -1, &["container web"]),
        ]);
        let shown: Vec<String> =
            shown.unwrap().lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            shown,
            [
                "Held bytes: 4.002MB",
                "",
                "KIND ID SIZE HELD BY",
                "snapshot abababababab 4MB image busybox:latest, container web",
                "ingest layer-abababababab 1kB nobody",
                "blob abababababab 500B image abababababab",
                "volume data N/A container web",
            ]
        );
    }
}
