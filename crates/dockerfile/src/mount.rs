//! `RUN --mount=type=…`.

use go_text::size::parse_bytes;

use crate::flags::FlagError;
use crate::names::closest;

/// One mount of a RUN. Variables in `target`, `from`, `source` and `id` are expanded by the build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mount {
    pub kind: MountKind,
    pub target: String,
    /// A stage, an image or a named context; empty: the build's context.
    pub from: String,
    pub source: String,
    pub read_only: bool,
    /// Cache, secret and ssh.
    pub id: String,
    pub sharing: Sharing,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mode: Option<u32>,
    /// Secret and ssh: an error without it.
    pub required: bool,
    /// Secret: into this variable; empty where the mount names none, the id where it has no value.
    pub env: Option<String>,
    /// tmpfs: the most bytes, 0 without limit.
    pub size: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MountKind {
    #[default]
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sharing {
    #[default]
    Shared,
    Private,
    Locked,
}

const KEYS: [&str; 17] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
];
const MORE_KEYS: [&str; 2] = ["gid", "env"];
const KINDS: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];

impl Mount {
    pub(crate) fn parse(text: &str) -> Result<Self, FlagError> {
        let fields = fields(text);
        let mut mount = Self::default();
        if let Some(kind) = fields.iter().find_map(|field| field.strip_prefix("type=")) {
            mount.kind = MountKind::parse(kind)?;
        }
        let mut read_only = None;
        for field in &fields {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.to_ascii_lowercase(), Some(value)),
                None => (field.to_ascii_lowercase(), None),
            };
            match key.as_str() {
                "readonly" | "ro" => read_only = Some(truth(&key, value)?),
                "readwrite" | "rw" => read_only = Some(!truth(&key, value)?),
                "required" => mount.required = truth(&key, value)?,
                "env" => mount.env = Some(value.unwrap_or_default().to_owned()),
                _ => match value {
                    Some(value) => mount.set(&key, value, field)?,
                    None => return Err(FlagError::new(format!("invalid field '{field}' must be a key=value pair"))),
                },
            }
        }
        mount.complete(read_only)
    }

    fn set(&mut self, key: &str, value: &str, field: &str) -> Result<(), FlagError> {
        let invalid = || FlagError::new(format!("invalid value for {key}: {value}"));
        match key {
            "type" => {}
            "from" => value.clone_into(&mut self.from),
            "source" | "src" => value.clone_into(&mut self.source),
            "target" | "dst" | "destination" => value.clone_into(&mut self.target),
            "id" => value.clone_into(&mut self.id),
            "sharing" => {
                self.sharing = match value {
                    "shared" => Sharing::Shared,
                    "private" => Sharing::Private,
                    "locked" => Sharing::Locked,
                    _ => return Err(FlagError::new(format!("unsupported sharing value \"{value}\""))),
                }
            }
            "size" => self.size = parse_bytes(value).and_then(|bytes| u64::try_from(bytes).ok()).ok_or_else(invalid)?,
            "mode" => self.mode = Some(u32::from_str_radix(value, 8).map_err(|_| invalid())?),
            "uid" => self.uid = Some(value.parse().map_err(|_| invalid())?),
            "gid" => self.gid = Some(value.parse().map_err(|_| invalid())?),
            _ => {
                let known: Vec<&str> = KEYS.into_iter().chain(MORE_KEYS).collect();
                let hint = closest(key, &known).map(str::to_owned);
                return Err(FlagError { message: format!("unexpected key '{key}' in '{field}'"), hint });
            }
        }
        Ok(())
    }

    fn complete(mut self, read_only: Option<bool>) -> Result<Self, FlagError> {
        self.read_only = read_only.unwrap_or(self.kind == MountKind::Bind);
        let fail = |message: String| Err(FlagError::new(message));
        let kind = self.kind.name();
        if self.target.is_empty() && !matches!(self.kind, MountKind::Secret | MountKind::Ssh) {
            return fail("target is required".to_owned());
        }
        if self.kind == MountKind::Tmpfs && (!self.from.is_empty() || !self.source.is_empty()) {
            return fail(format!("source requires a mount of type bind or cache, not {kind}"));
        }
        if self.env.is_some() && self.kind != MountKind::Secret {
            return fail(format!("env requires a mount of type secret, not {kind}"));
        }
        if self.size != 0 && self.kind != MountKind::Tmpfs {
            return fail(format!("size requires a mount of type tmpfs, not {kind}"));
        }
        if self.kind == MountKind::Secret && self.id.is_empty() {
            if self.source.is_empty() && self.target.is_empty() {
                return fail("invalid secret mount. one of source, target required".to_owned());
            }
            let named = if self.source.is_empty() { &self.target } else { &self.source };
            self.id = named.rsplit('/').next().unwrap_or(named).to_owned();
        }
        Ok(self)
    }
}

impl MountKind {
    fn parse(text: &str) -> Result<Self, FlagError> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "bind" => Self::Bind,
            "cache" => Self::Cache,
            "tmpfs" => Self::Tmpfs,
            "secret" => Self::Secret,
            "ssh" => Self::Ssh,
            _ => {
                let hint = closest(text, &KINDS).map(str::to_owned);
                return Err(FlagError { message: format!("unsupported mount type \"{text}\""), hint });
            }
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Cache => "cache",
            Self::Tmpfs => "tmpfs",
            Self::Secret => "secret",
            Self::Ssh => "ssh",
        }
    }
}

/// Fields of one line of CSV, whose quotes hold commas together.
fn fields(text: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => {
                if let Some(field) = fields.last_mut() {
                    field.push(c);
                }
            }
        }
    }
    fields
}

fn truth(key: &str, value: Option<&str>) -> Result<bool, FlagError> {
    match value {
        None => Ok(true),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(value) => Err(FlagError::new(format!("invalid value for {key}: {value}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Mount {
        Mount::parse(text).unwrap_or_else(|error| panic!("{}", error.message))
    }

    #[test]
    fn every_type_has_its_fields() {
        let bind = parsed("target=/src,from=stage,source=a,rw");
        assert_eq!((bind.kind, bind.read_only, bind.from.as_str()), (MountKind::Bind, false, "stage"));
        let cache = parsed("type=cache,dst=/root/.cache,sharing=locked,mode=0750,uid=3,gid=4,id=x");
        assert_eq!((cache.sharing, cache.mode, cache.uid, cache.gid), (Sharing::Locked, Some(0o750), Some(3), Some(4)));
        assert_eq!(parsed("type=tmpfs,target=/t,size=64m").size, 64 << 20);
        let secret = parsed("type=secret,source=a/key,env=KEY,required");
        assert_eq!((secret.id.as_str(), secret.env.as_deref(), secret.required), ("key", Some("KEY"), true));
        assert!(parsed("target=/a").read_only);
    }

    #[test]
    fn mistakes_are_told() {
        for (text, message) in [
            ("type=bnd,target=/a", "unsupported mount type \"bnd\""),
            ("target=/a,x", "invalid field 'x' must be a key=value pair"),
            ("target=/a,sorce=b", "unexpected key 'sorce' in 'sorce=b'"),
            ("type=cache", "target is required"),
            ("target=/a,size=1", "size requires a mount of type tmpfs, not bind"),
            ("type=secret", "invalid secret mount. one of source, target required"),
        ] {
            assert_eq!(Mount::parse(text).err().unwrap().message, message, "{text}");
        }
    }
}
