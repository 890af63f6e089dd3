//! A build as the classic builder has it: one request with the whole context, and what comes back in lines.

use super::context::Source;
use super::outputs::Outputs;
use super::{mistake, request, show};
use crate::command::Matches;
use crate::context::Context;
use crate::failure::Failure;

/// Builds; answers the image's id.
pub async fn build(context: &Context, flags: &Matches, source: Source, outputs: &Outputs) -> Result<String, Failure> {
    let file = source.dockerfile_text();
    let mut request = request::of(context, flags, file.as_ref())?;
    for name in outputs.more_names() {
        request = request.with("t", name);
    }
    let quiet = flags.is_set("quiet") || matches!(flags.text("progress"), "quiet" | "none");
    let aside = outputs.takes_stdout();
    let (request, upload) = source.attach(request, quiet || aside, flags.is_set("compress"))?;
    let mut shown = show::Shown::new(quiet, aside);
    let answered = async {
        let lines = context.client.stream(request).await?.lines();
        shown.show(lines).await
    };
    let answered = answered.await;
    let done = match upload {
        Some(upload) => upload.end(answered).await,
        None => answered,
    };
    if let Err(failure) = done {
        mistake::show(file.as_ref(), &shown, &failure);
        return Err(failure);
    }
    Ok(shown.id)
}
