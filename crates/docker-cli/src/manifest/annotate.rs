//! `docker manifest annotate`.

use super::parse;
use super::store::Store;
use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::context::Context;
use crate::failure::Failure;

const FLAGS: &[Flag] = &[
    flag("arch", NONE, Kind::Text, "", "Set architecture"),
    flag("os", NONE, Kind::Text, "", "Set operating system"),
    flag("os-features", NONE, Kind::Strings, "", "Set operating system feature"),
    flag("os-version", NONE, Kind::Text, "", "Set operating system version"),
    flag("variant", NONE, Kind::Text, "", "Set architecture variant"),
];

pub const COMMAND: Command = Command {
    name: "annotate",
    usage: "[OPTIONS] MANIFEST_LIST MANIFEST",
    about: "Add additional information to a local image manifest",
    flags: &[FLAGS],
    args: Args::Exactly(2),
    local: true,
    experimental: true,
    action: Some(|context, flags| Box::pin(async move { execute(context, flags) })),
    ..Command::EMPTY
};

/// Systems and the processors that Docker's client takes with them.
const KNOWN: &[(&str, &[&str])] = &[
    ("darwin", &["386", "amd64", "arm", "arm64"]),
    ("dragonfly", &["amd64"]),
    ("freebsd", &["386", "amd64", "arm"]),
    ("linux", &["386", "amd64", "arm", "arm64", "ppc64le", "mips64", "mips64le", "riscv64", "s390x"]),
    ("netbsd", &["386", "amd64", "arm"]),
    ("openbsd", &["386", "amd64", "arm"]),
    ("plan9", &["386", "amd64"]),
    ("solaris", &["amd64"]),
    ("windows", &["386", "amd64"]),
];

fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let named = |what: &str, name: &str| {
        parse(name).map_err(|error| Failure::Text(format!("annotate: error parsing name for {what} {name}: {error}")))
    };
    let (list_name, image_name) = (flags.arg(0), flags.arg(1));
    let (list, image) = (named("manifest list", list_name)?, named("manifest", image_name)?);
    let store = Store::new(&context.config.folder);
    let Some(mut stored) = store.get(&list, &image)? else {
        return Err(Failure::Text(format!("manifest for image {image_name} does not exist in {list_name}")));
    };
    let platform = stored.platform_mut();
    let set = |place: &mut String, name: &str| {
        if !flags.text(name).is_empty() {
            flags.text(name).clone_into(place);
        }
    };
    set(&mut platform.os, "os");
    set(&mut platform.architecture, "arch");
    set(&mut platform.variant, "variant");
    set(&mut platform.os_version, "os-version");
    for feature in flags.list("os-features") {
        if !platform.os_features.contains(feature) {
            platform.os_features.push(feature.clone());
        }
    }
    let processors = KNOWN.iter().find(|(os, _)| *os == platform.os).map(|(_, processors)| *processors);
    if !processors.unwrap_or_default().contains(&platform.architecture.as_str()) {
        return Err(Failure::Text(format!(
            "manifest entry for image has unsupported os/arch combination: {}/{}",
            flags.text("os"),
            flags.text("arch")
        )));
    }
    store.save(&list, &image, &stored)?;
    Ok(0)
}
