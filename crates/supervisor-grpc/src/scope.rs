//! Who asks: the namespace and the lease that stand in a request's headers.

use supervisor::{Scope, identifier, messages};
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

use crate::status::status;

const NAMESPACE: &str = "containerd-namespace";
const LEASE: &str = "containerd-lease";
/// The longest lease id.
const MAX_LEASE_BYTES: usize = 512;

/// The namespace of a request, which it has to name.
pub fn namespace<T>(request: &Request<T>) -> Result<String, Status> {
    named(request.metadata())
}

/// Namespace and lease of a request.
pub fn scope<T>(request: &Request<T>) -> Result<Scope, Status> {
    let namespace = namespace(request)?;
    let lease = header(request.metadata(), LEASE).filter(|lease| !lease.is_empty() && lease.len() <= MAX_LEASE_BYTES);
    Ok(Scope { namespace, lease: lease.map(str::to_owned) })
}

fn named(headers: &MetadataMap) -> Result<String, Status> {
    let name = header(headers, NAMESPACE).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| status(messages::namespace_required()))?;
    identifier::check(name).map_err(status)?;
    Ok(name.to_owned())
}

fn header<'a>(headers: &'a MetadataMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    fn request(pairs: &[(&'static str, &str)]) -> Request<()> {
        let mut request = Request::new(());
        for (name, value) in pairs {
            request.metadata_mut().insert(*name, value.parse().expect("ascii"));
        }
        request
    }

    #[test]
    fn a_request_names_its_namespace() {
        assert_eq!(namespace(&request(&[])).expect_err("none").code(), Code::FailedPrecondition);
        assert_eq!(namespace(&request(&[(NAMESPACE, "../x")])).expect_err("bad").code(), Code::InvalidArgument);
        let scope = scope(&request(&[(NAMESPACE, "moby"), (LEASE, "l")])).expect("scope");
        assert_eq!((scope.namespace.as_str(), scope.lease.as_deref()), ("moby", Some("l")));
    }
}
