//! A criu that serves one request over a socket that it is started with (`criu swrk`).

use super::rpc::{Features, Kind, Notification, Options, Request, Response, Version};
use crate::RuntimeError;
use crate::fd::Fd;
use prost::Message;
use std::process::{Child, Command, Stdio};
use sys::{file, socket, spawn};

/// No answer of criu's comes near this.
const MAX_ANSWER: usize = 40 << 10;

/// A started criu, and our end of its socket.
#[derive(Debug)]
pub struct Criu {
    child: Child,
    /// Closed when nothing more is asked.
    socket: Option<Fd>,
    /// Whether it was told what to do, and has not answered.
    busy: bool,
}

impl Criu {
    /// `inherited`: descriptors that stay open in it, under their numbers.
    pub fn start(inherited: &[&Fd]) -> Result<Self, RuntimeError> {
        let (ours, theirs) = socket::packet_pair().map_err(RuntimeError::system("socketpair"))?;
        let (ours, theirs) = (Fd::new(ours), Fd::new(theirs));
        for fd in inherited.iter().copied().chain([&theirs]) {
            file::keep_on_exec(fd.raw()).map_err(RuntimeError::system("pass a descriptor to criu"))?;
        }
        let mut command = Command::new("criu");
        command.arg("swrk").arg(theirs.raw().to_string()).stdin(Stdio::inherit());
        let child = spawn::with_nothing_blocked(&mut command).spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                RuntimeError::InvalidArgument("exec: \"criu\": executable file not found in $PATH".into())
            }
            _ => RuntimeError::File { what: "exec: \"criu\"".into(), source: error },
        })?;
        Ok(Self { child, socket: Some(ours), busy: false })
    }

    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// What the installed one is, as one number: 3.17.1 is 31701.
    pub fn version() -> Result<i32, RuntimeError> {
        let request = Request { kind: Kind::Version.into(), ..Request::default() };
        let answer = Self::start(&[])?.serve(&request, |_, _| Ok(()))?;
        let Version { major, minor, sublevel } = answer.version.unwrap_or_default();
        Ok(major * 10_000 + minor * 100 + sublevel.unwrap_or(0))
    }

    /// An error unless criu and the kernel can do what is asked for.
    pub fn check(wanted: &Features) -> Result<(), RuntimeError> {
        let request = Request { kind: Kind::FeatureCheck.into(), features: Some(wanted.clone()), ..Request::default() };
        let found = Self::start(&[])?.serve(&request, |_, _| Ok(()))?.features.unwrap_or_default();
        let lacks = |wanted: Option<bool>, found: Option<bool>| wanted == Some(true) && found != Some(true);
        if lacks(wanted.track_memory, found.track_memory) || lacks(wanted.lazy_pages, found.lazy_pages) {
            return Err(RuntimeError::InvalidArgument("CRIU is missing features".into()));
        }
        Ok(())
    }

    /// Dumps, or restores. `notified` is called at each point where criu waits for us.
    pub fn perform(
        self,
        kind: Kind,
        options: Options,
        notified: impl FnMut(&Notification, Option<Fd>) -> Result<(), RuntimeError>,
    ) -> Result<(), RuntimeError> {
        let request = Request { kind: kind.into(), options: Some(options), ..Request::default() };
        self.serve(&request, notified).map(drop)
    }

    fn serve(
        mut self,
        request: &Request,
        mut notified: impl FnMut(&Notification, Option<Fd>) -> Result<(), RuntimeError>,
    ) -> Result<Response, RuntimeError> {
        self.send(request)?;
        self.busy = true;
        let response = loop {
            let (response, fd) = self.receive()?;
            if !response.success {
                let kind = Kind::try_from(response.kind).unwrap_or(Kind::Empty);
                let (errno, error) = (response.errno.unwrap_or(0), response.error.unwrap_or_default());
                return Err(RuntimeError::InvalidArgument(
                    format!("criu failed: type {kind:?} errno {errno} {error}").trim_end().into(),
                ));
            }
            if response.kind != i32::from(Kind::Notify) {
                break response;
            }
            notified(&response.notification.unwrap_or_default(), fd)?;
            self.send(&Request { kind: Kind::Notify.into(), notify_success: Some(true), ..Request::default() })?;
        };
        self.busy = false;
        // After a pre-dump it waits for the dump that would follow, until it is told that there is none.
        self.socket = None;
        let status = self.child.wait().map_err(RuntimeError::file("wait for criu"))?;
        if !status.success() && request.kind != i32::from(Kind::PreDump) {
            return Err(RuntimeError::InvalidArgument(format!("criu failed: {status}")));
        }
        Ok(response)
    }

    fn raw_socket(&self) -> i32 {
        self.socket.as_ref().map_or(-1, Fd::raw)
    }

    fn send(&self, request: &Request) -> Result<(), RuntimeError> {
        socket::send(self.raw_socket(), &request.encode_to_vec()).map_err(RuntimeError::system("write to criu"))
    }

    fn receive(&self) -> Result<(Response, Option<Fd>), RuntimeError> {
        let mut buffer = vec![0; MAX_ANSWER];
        let (length, fd) =
            socket::receive(self.raw_socket(), &mut buffer).map_err(RuntimeError::system("read from criu"))?;
        let bytes = buffer.get(..length).unwrap_or_default();
        if bytes.is_empty() || length == MAX_ANSWER {
            return Err(RuntimeError::InvalidArgument("criu ended before it answered".into()));
        }
        let response = Response::decode(bytes);
        let response = response.map_err(|error| RuntimeError::InvalidArgument(format!("criu's answer: {error}")))?;
        Ok((response, fd.map(Fd::new)))
    }
}

impl Drop for Criu {
    fn drop(&mut self) {
        if self.busy {
            let _ = self.child.kill();
        }
        // One that has been waited for is not waited for again.
        let _ = self.child.wait();
    }
}
