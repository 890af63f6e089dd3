//! The flags of `build`: Docker's, and those of its newer builder that this one has.

use ids::Reference;

use crate::command::{Flag, Kind, Matches, NONE, flag};
use crate::container::hosts;
use crate::failure::Failure;

#[rustfmt::skip]
pub const FLAGS: &[Flag] = &[
    flag("add-host", NONE, Kind::List, "", "Add a custom host-to-IP mapping (\"host:ip\")").checked(hosts::check_extra_host),
    flag("build-arg", NONE, Kind::List, "", "Set build-time variables"),
    flag("cache-from", NONE, Kind::Strings, "", "Images to consider as cache sources"),
    flag("cgroup-parent", NONE, Kind::Text, "", "Set the parent cgroup for the \"RUN\" instructions during build"),
    flag("compress", NONE, Kind::Bool, "", "Compress the build context using gzip"),
    flag("cpu-period", NONE, Kind::Int, "", "Limit the CPU CFS (Completely Fair Scheduler) period"),
    flag("cpu-quota", NONE, Kind::Int, "", "Limit the CPU CFS (Completely Fair Scheduler) quota"),
    flag("cpu-shares", 'c', Kind::Int, "", "CPU shares (relative weight)"),
    flag("cpuset-cpus", NONE, Kind::Text, "", "CPUs in which to allow execution (0-3, 0,1)"),
    flag("cpuset-mems", NONE, Kind::Text, "", "MEMs in which to allow execution (0-3, 0,1)"),
    flag("disable-content-trust", NONE, Kind::Bool, "true", "Skip image verification"),
    flag("file", 'f', Kind::Text, "", "Name of the Dockerfile (Default is \"PATH/Dockerfile\")"),
    flag("force-rm", NONE, Kind::Bool, "", "Always remove intermediate containers"),
    flag("iidfile", NONE, Kind::Text, "", "Write the image ID to the file"),
    flag("isolation", NONE, Kind::Text, "", "Container isolation technology"),
    flag("label", NONE, Kind::List, "", "Set metadata for an image"),
    flag("memory", 'm', Kind::Bytes, "", "Memory limit"),
    flag("memory-swap", NONE, Kind::Bytes, "", "Swap limit equal to memory plus swap: -1 to enable unlimited swap"),
    flag("network", NONE, Kind::Text, "default", "Set the networking mode for the RUN instructions during build"),
    flag("no-cache", NONE, Kind::Bool, "", "Do not use cache when building the image"),
    flag("platform", NONE, Kind::Text, "", "Set platform if server is multi-platform capable").or_variable("DOCKER_DEFAULT_PLATFORM"),
    flag("pull", NONE, Kind::Bool, "", "Always attempt to pull a newer version of the image"),
    flag("quiet", 'q', Kind::Bool, "", "Suppress the build output and print image ID on success"),
    flag("rm", NONE, Kind::Bool, "true", "Remove intermediate containers after a successful build"),
    flag("security-opt", NONE, Kind::Strings, "", "Security options"),
    flag("shm-size", NONE, Kind::Bytes, "", "Size of \"/dev/shm\""),
    flag("squash", NONE, Kind::Bool, "", "Squash newly built layers into a single new layer"),
    flag("tag", 't', Kind::List, "", "Name and optionally a tag in the \"name:tag\" format").checked(check_tag),
    flag("target", NONE, Kind::Text, "", "Set the target build stage to build."),
    flag("ulimit", NONE, Kind::Ulimit, "[]", "Ulimit options"),
];

/// What Docker's newer builder has besides. Its own page names them, the classic one does not.
#[rustfmt::skip]
pub const MORE: &[Flag] = &[
    flag("annotation", NONE, Kind::List, "", "Add annotation to the image").hidden(),
    flag("attest", NONE, Kind::List, "", "Attestation parameters (format: \"type=sbom,generator=image\")").hidden(),
    flag("build-context", NONE, Kind::List, "", "Additional build contexts (e.g., name=path)").hidden(),
    flag("cache-to", NONE, Kind::List, "", "Cache export destinations (e.g., \"user/app:cache\", \"type=local,dest=path/to/dir\")").hidden(),
    flag("call", NONE, Kind::Text, "build", "Set method for evaluating build (\"check\", \"outline\", \"targets\")").hidden(),
    flag("check", NONE, Kind::Bool, "", "Shorthand for \"--call=check\"").hidden(),
    flag("load", NONE, Kind::Bool, "", "Shorthand for \"--output=type=docker\"").hidden(),
    flag("metadata-file", NONE, Kind::Text, "", "Write build result metadata to a file").hidden(),
    flag("no-cache-filter", NONE, Kind::Strings, "", "Do not cache specified stages").hidden(),
    flag("output", 'o', Kind::List, "", "Output destination (format: \"type=local,dest=path\")").hidden(),
    flag("progress", NONE, Kind::Text, "auto", "Set type of progress output (\"auto\", \"none\", \"plain\", \"quiet\", \"rawjson\", \"tty\"). Use plain to show container output").hidden(),
    flag("provenance", NONE, Kind::Text, "", "Shorthand for \"--attest=type=provenance\"").hidden(),
    flag("push", NONE, Kind::Bool, "", "Shorthand for \"--output=type=registry\"").hidden(),
    flag("sbom", NONE, Kind::Text, "", "Shorthand for \"--attest=type=sbom\"").hidden(),
    flag("secret", NONE, Kind::List, "", "Secret to expose to the build (format: \"id=mysecret[,src=/local/secret]\")").hidden(),
    flag("ssh", NONE, Kind::List, "", "SSH agent socket or keys to expose to the build").hidden(),
];

fn check_tag(text: &str) -> Result<(), String> {
    Reference::parse_familiar(text).map(drop).map_err(|error| error.to_string())
}

/// What is not done is refused, never taken and forgotten.
pub fn refuse_what_is_not_done(flags: &Matches) -> Result<(), Failure> {
    let refuse = |what: &str| Err(Failure::Text(format!("{what} is not supported by this builder")));
    if !flags.is_set("disable-content-trust") {
        return refuse("--disable-content-trust=false");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_refused_where_it_is_given() {
        let tag = FLAGS.iter().find(|flag| flag.long == "tag").expect("the flag");
        for good in ["a", "registry:5000/a/b:c", "a:1.0"] {
            assert_eq!(tag.check_value(good), Ok(()), "{good}");
        }
        assert_eq!(
            tag.check_value("ABC").unwrap_err(),
            "invalid reference format: repository name (library/ABC) must be lowercase"
        );
        assert_eq!(tag.check_value("a:b:c").unwrap_err(), "invalid reference format");
    }
}
