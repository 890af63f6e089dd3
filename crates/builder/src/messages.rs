//! Docker's words.

use errors::ErrorKind;
use image_core::Platform;

use crate::error::BuildError;

pub(crate) fn no_image() -> BuildError {
    BuildError::invalid("No image was generated. Is your Dockerfile empty?")
}

/// A step for processors that this host has not, and no emulator for them.
pub(crate) fn no_emulator(program: &str, wanted: &Platform) -> BuildError {
    let host = Platform::host();
    BuildError::invalid(format!(
        "exec {program}: exec format error: the step is for {wanted}, this engine runs {host} and has no emulator for {wanted} (binfmt_misc)"
    ))
}

pub(crate) fn missing_dockerfile(name: &str) -> BuildError {
    BuildError::invalid(format!("Cannot locate specified Dockerfile: {name}"))
}

pub(crate) fn empty_dockerfile(name: &str) -> BuildError {
    BuildError::invalid(format!("the Dockerfile ({name}) cannot be empty"))
}

pub(crate) fn no_target(name: &str) -> BuildError {
    BuildError::invalid(format!("failed to reach build target {name} in Dockerfile"))
}

pub(crate) fn squash() -> BuildError {
    BuildError::invalid("squash is only supported with experimental mode")
}

pub(crate) fn not_in_context(instruction: &str, path: &str) -> BuildError {
    let message = format!(
        "{instruction} failed: file not found in build context or excluded by .dockerignore: stat {path}: file does not exist"
    );
    BuildError::NotInContext { path: path.to_owned(), message }
}

pub(crate) fn not_in_stage(instruction: &str, path: &str) -> BuildError {
    BuildError::invalid(format!("{instruction} failed: stat {path}: file does not exist"))
}

pub(crate) fn no_sources(instruction: &str) -> BuildError {
    BuildError::invalid(format!("{instruction} failed: no source files were specified"))
}

pub(crate) fn needs_a_folder(instruction: &str) -> BuildError {
    BuildError::invalid(format!(
        "When using {instruction} with more than one source file, the destination must be a directory and end with a /"
    ))
}

pub(crate) fn not_a_folder(path: &str) -> BuildError {
    BuildError::invalid(format!("cannot copy to non-directory: /{path}"))
}

pub(crate) fn forbidden_path(instruction: &str, path: &str) -> BuildError {
    BuildError::invalid(format!("{instruction} failed: forbidden path outside the build context: {path} ()"))
}

pub(crate) fn no_owner(kind: &str, name: &str) -> BuildError {
    BuildError::invalid(format!("unable to convert uid/gid chown string to host mapping: can't find {kind} for {name}"))
}

pub(crate) fn circular_from(name: &str) -> BuildError {
    BuildError::invalid(format!("invalid from flag value {name}: refers to current build stage"))
}

pub(crate) fn empty_base(original: &str) -> BuildError {
    BuildError::invalid(format!("base name ({original}) should not be blank"))
}

pub(crate) fn checksum(expected: &str, found: &str) -> BuildError {
    BuildError::invalid(format!("digest mismatch {found}: {expected}"))
}

pub(crate) fn insecure() -> BuildError {
    BuildError::refused(
        ErrorKind::PermissionDenied,
        "granting entitlement security.insecure is not allowed by build daemon configuration",
    )
}

pub(crate) fn no_agent(id: &str) -> BuildError {
    BuildError::refused(
        ErrorKind::FailedPrecondition,
        format!("unset ssh forward key {id}: the client that builds forwards no such SSH agent"),
    )
}

pub(crate) fn missing_secret(id: &str) -> BuildError {
    BuildError::refused(ErrorKind::NotFound, format!("secret {id}: not found"))
}
