//! `docker system dial-stdio`: standard input and output become a connection to the daemon. What `ssh://` hosts run.

use tokio::io::{AsyncWriteExt, copy, stdin, stdout};

use crate::command::{Args, Command};
use crate::context::Context;
use crate::failure::Failure;

pub const COMMAND: Command = Command {
    name: "dial-stdio",
    about: "Proxy the stdio stream to the daemon connection. Should not be invoked manually.",
    hidden: true,
    args: Args::None,
    action: Some(|context, _| Box::pin(execute(context))),
    ..Command::EMPTY
};

/// Ends with the daemon's side. The end of the input is passed on and ends nothing.
async fn execute(context: &Context) -> Result<u8, Failure> {
    let (mut read, mut write) = context.client.dial().await?.split();
    let upwards = async {
        let mut input = stdin();
        // The daemon may have closed its side; what it still says matters more.
        let _ = copy(&mut input, &mut write).await;
        let _ = write.shutdown().await;
        std::future::pending::<()>().await;
    };
    let downwards = async {
        let mut output = stdout();
        copy(&mut read, &mut output).await?;
        output.flush().await
    };
    tokio::select! {
        ended = downwards => ended?,
        () = upwards => {}
    }
    Ok(0)
}
