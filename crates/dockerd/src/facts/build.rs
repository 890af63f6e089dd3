//! What this build is. docs/decisions/version.md.

/// Docker Engine's version whose behaviour this engine has: tools compare it with what they need.
pub const ENGINE_VERSION: &str = "28.5.2";
/// The BuildKit that is in that Docker: its clients ask what they may use.
pub const BUILDKIT_VERSION: &str = "v0.25.2";
/// Longshore's own.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Of the working tree that was built, where the build says so.
pub const COMMIT: &str = match option_env!("LONGSHORE_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};
/// RFC 3339, where the build says so.
pub const BUILD_TIME: &str = match option_env!("LONGSHORE_BUILD_TIME") {
    Some(time) => time,
    None => "",
};
pub const COMPILER: &str = env!("LONGSHORE_COMPILER");

/// In Go's words.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
