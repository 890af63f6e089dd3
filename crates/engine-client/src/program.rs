//! A connection through a program's standard input and output: ssh, which runs `docker system dial-stdio` on the daemon's
//! machine.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::Sleep;

use crate::host::SshHost;

/// How long ssh tries to reach the other machine, in seconds.
const SSH_TIMEOUT_S: u32 = 30;
/// What of the program's complaints is kept for the error.
const MAX_COMPLAINT: usize = 4096;
const COMPLAINT_GRACE: Duration = Duration::from_millis(200);
/// Runs a program that the keyboard's interrupt does not end: the container at the other end is to get it.
const SHIELDED: &str = "trap '' INT; exec \"$@\"";

/// A running program, seen as a connection. Ends with it.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    /// Closed by a shutdown.
    input: Option<ChildStdin>,
    output: ChildStdout,
    complaint: Arc<Mutex<Vec<u8>>>,
    /// Reads what the program complains of.
    listener: JoinHandle<()>,
    /// How long the complaint is waited for once the program has ended.
    grace: Option<Pin<Box<Sleep>>>,
    line: Vec<String>,
}

impl Program {
    pub fn start(host: &SshHost) -> io::Result<Self> {
        let line = ssh_line(host);
        let mut child = Command::new("/bin/sh")
            .args(["-c", SHIELDED, "sh"])
            .args(&line)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let missing = || io::Error::other("a stream of the program is missing");
        let input = child.stdin.take().ok_or_else(missing)?;
        let output = child.stdout.take().ok_or_else(missing)?;
        let mut errors = child.stderr.take().ok_or_else(missing)?;
        let complaint = Arc::new(Mutex::new(Vec::new()));
        let kept = complaint.clone();
        // Ends with the program's standard error, which ends with the program.
        let listener = tokio::spawn(async move {
            let mut chunk = [0; 512];
            while let Ok(count @ 1..) = errors.read(&mut chunk).await {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                let room = MAX_COMPLAINT.saturating_sub(kept.len()).min(count);
                kept.extend_from_slice(&chunk[..room]);
            }
        });
        Ok(Self { child, input: Some(input), output, complaint, listener, grace: None, line })
    }

    /// Why the output ended, if the program did not end well.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let waiting = self.child.wait();
        tokio::pin!(waiting);
        let status = ready!(waiting.poll(cx))?;
        if status.success() {
            return Poll::Ready(Ok(()));
        }
        // A program in the background may hold on to the stream: what came soon is all.
        let grace = self.grace.get_or_insert_with(|| Box::pin(tokio::time::sleep(COMPLAINT_GRACE)));
        if !self.listener.is_finished() && Pin::new(&mut self.listener).poll(cx).is_pending() {
            ready!(grace.as_mut().poll(cx));
        }
        let end = status.code().map_or_else(|| "a signal".to_owned(), |code| format!("exit status {code}"));
        let complaint = self.complaint.lock().unwrap_or_else(PoisonError::into_inner);
        Poll::Ready(Err(io::Error::other(format!(
            "command [{}] has exited with {end}, make sure the URL is valid, and Docker 18.09 or later is installed on the remote host: stderr={}",
            self.line.join(" "),
            String::from_utf8_lossy(&complaint)
        ))))
    }
}

/// `ssh -o ConnectTimeout=30 -T -l user -p port -- host docker system dial-stdio`.
fn ssh_line(host: &SshHost) -> Vec<String> {
    let mut line: Vec<String> =
        ["ssh", "-o", &format!("ConnectTimeout={SSH_TIMEOUT_S}"), "-T"].map(str::to_owned).to_vec();
    for (flag, value) in [("-l", &host.user), ("-p", &host.port)] {
        if !value.is_empty() {
            line.extend([flag.to_owned(), value.clone()]);
        }
    }
    line.extend(["--".to_owned(), host.name.clone(), "docker".to_owned()]);
    if !host.path.is_empty() {
        line.extend(["--host".to_owned(), format!("unix://{}", quoted_for_shell(&host.path))]);
    }
    line.extend(["system".to_owned(), "dial-stdio".to_owned()]);
    line
}

/// The other machine's shell reads the line again: what it would interpret is quoted.
fn quoted_for_shell(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\"'\"'")) }
}

impl AsyncRead for Program {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.output).poll_read(cx, buffer))?;
        if buffer.filled().len() > before || buffer.capacity() == before {
            return Poll::Ready(Ok(()));
        }
        this.input = None;
        this.poll_end(cx)
    }
}

impl AsyncWrite for Program {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // What the program says of its end is told by the read.
        let Some(input) = &mut this.input else { return Poll::Ready(Ok(bytes.len())) };
        match ready!(Pin::new(input).poll_write(cx, bytes)) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Poll::Ready(Ok(bytes.len())),
            other => Poll::Ready(other),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().input {
            Some(input) => Pin::new(input).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().input = None;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssh_gets_user_port_and_socket() {
        let host = SshHost { user: "u".into(), name: "h".into(), port: "22".into(), path: "/run/x y".into() };
        assert_eq!(
            ssh_line(&host).join(" "),
            "ssh -o ConnectTimeout=30 -T -l u -p 22 -- h docker --host unix://'/run/x y' system dial-stdio"
        );
        let bare = SshHost { name: "-oProxyCommand=x".into(), ..SshHost::default() };
        assert_eq!(
            ssh_line(&bare).join(" "),
            "ssh -o ConnectTimeout=30 -T -- -oProxyCommand=x docker system dial-stdio"
        );
    }
}
