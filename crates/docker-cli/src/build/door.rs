//! Which of the engine's two builders builds: BuildKit's protocol, or `POST /build` as the classic builder has it.

use crate::command::Matches;
use crate::context::Context;
use crate::failure::Failure;

const VARIABLE: &str = "DOCKER_BUILDKIT";
/// What only the classic builder does.
const CLASSIC: [&str; 12] = [
    "compress",
    "cpu-period",
    "cpu-quota",
    "cpu-shares",
    "cpuset-cpus",
    "cpuset-mems",
    "force-rm",
    "isolation",
    "memory",
    "memory-swap",
    "security-opt",
    "squash",
];
/// What only BuildKit's protocol has.
const BUILDKIT: [&str; 5] = ["annotation", "attest", "provenance", "sbom", "ssh"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Classic,
    BuildKit,
}

/// By the variable, by the options, by what the engine says of itself.
pub async fn choose(context: &Context, flags: &Matches) -> Result<Door, Failure> {
    let wanted = wanted(std::env::var(VARIABLE).ok().as_deref())?;
    let classic = CLASSIC.into_iter().find(|name| flags.given(name));
    let classic = classic.or_else(|| (!flags.is_set("rm")).then_some("rm"));
    let several = flags.text("platform").contains(',').then_some("platform");
    let door = match (wanted, classic) {
        (Some(Door::BuildKit), Some(name)) => {
            return Err(Failure::Text(format!(
                "--{name} belongs to the classic builder\nhint: build with {VARIABLE}=0, or without it"
            )));
        }
        (Some(door), _) => door,
        (None, Some(_)) => Door::Classic,
        (None, None) => match context.client.ping().await {
            Ok(ping) if ping.builder == "2" => Door::BuildKit,
            Ok(_) => Door::Classic,
            // The build itself fails in the same way, and says what was asked.
            Err(_) => Door::Classic,
        },
    };
    match BUILDKIT.into_iter().find(|name| flags.given(name)).or(several) {
        Some(name) if door == Door::Classic => Err(Failure::Text(match classic {
            Some(other) => format!("--{name} and --{other} belong to different builders"),
            None => format!("--{name} requires BuildKit\nhint: build with {VARIABLE}=1"),
        })),
        _ => Ok(door),
    }
}

fn wanted(variable: Option<&str>) -> Result<Option<Door>, Failure> {
    match variable {
        None | Some("") => Ok(None),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(Some(Door::BuildKit)),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(Some(Door::Classic)),
        Some(other) => Err(Failure::Text(format!(
            "{VARIABLE} environment variable expects boolean value: strconv.ParseBool: parsing {other:?}: invalid syntax"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_is_a_boolean() {
        assert_eq!(wanted(None).unwrap(), None);
        assert_eq!(wanted(Some("0")).unwrap(), Some(Door::Classic));
        assert_eq!(wanted(Some("true")).unwrap(), Some(Door::BuildKit));
        assert!(wanted(Some("yes")).unwrap_err().to_string().contains("expects boolean value"));
    }
}
