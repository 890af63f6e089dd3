//! The end of a build that nobody waits for.

use std::future::Future;

use tokio_util::sync::CancellationToken;

use crate::error::BuildError;

/// Work, or the end of the build, whichever comes first.
pub(crate) async fn unless<T, E: Into<BuildError>>(
    token: &CancellationToken,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, BuildError> {
    tokio::select! {
        biased;
        () = token.cancelled() => Err(BuildError::Cancelled),
        done = work => done.map_err(Into::into),
    }
}
