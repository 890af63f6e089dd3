//! A registry that answers what a test tells it to: whole images, and what an attacker would send in their place.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Result;
use ids::Digest;
use serde_json::{Value, json};

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// What there is at a path.
#[derive(Clone)]
pub enum Served {
    /// Content-Type and body.
    Body(&'static str, Vec<u8>),
    /// Status, a further line of the head, and a body of JSON.
    Answer(u16, String, String),
    /// A body that never ends, of these bytes over and over.
    Endless(&'static str),
    /// The head says so many bytes, half of them come.
    Half(Vec<u8>),
}

/// By path: `/v2/NAME/manifests/TAG`.
pub type Site = BTreeMap<String, Served>;

/// A server on a port of loopback; what it does not know is 404.
pub struct HostileRegistry {
    site: Arc<Mutex<Site>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl HostileRegistry {
    pub fn start(address: &str) -> Result<Self> {
        let listener = TcpListener::bind(address)?;
        let registry = Self { site: Arc::default(), asked: Arc::default() };
        let (site, asked) = (registry.site.clone(), registry.asked.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (site, asked) = (site.clone(), asked.clone());
                // A client that hangs up is one that has seen enough.
                thread::spawn(move || drop(serve(&client, &site, &asked)));
            }
        });
        Ok(registry)
    }

    /// From now on it has this, and nothing else; forgets what it was asked for.
    pub fn show(&self, site: Site) {
        *lock(&self.site) = site;
        lock(&self.asked).clear();
    }

    /// Methods and paths since the last change.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.asked).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(client: &TcpStream, site: &Mutex<Site>, asked: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut lines = BufReader::new(client).lines();
    let Some(first) = lines.next().transpose()? else { return Ok(()) };
    for line in lines.by_ref() {
        if line?.is_empty() {
            break;
        }
    }
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = path.split('?').next().unwrap_or_default();
    lock(asked).push(format!("{method} {path}"));
    let found = lock(site).get(path).cloned();
    let found = found.or_else(|| (path == "/v2/").then(|| Served::Body("application/json", b"{}".to_vec())));
    answer(client, method, found)
}

fn answer(mut client: &TcpStream, method: &str, served: Option<Served>) -> io::Result<()> {
    let missing = r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#;
    let (status, kind, more, body) = match &served {
        None => (404, "application/json", "", missing.as_bytes()),
        Some(Served::Body(kind, body)) => (200, *kind, "", body.as_slice()),
        Some(Served::Answer(status, more, body)) => (*status, "application/json", more.as_str(), body.as_bytes()),
        Some(Served::Endless(kind)) => (200, *kind, "", &[][..]),
        Some(Served::Half(body)) => (200, "application/octet-stream", "", body.as_slice()),
    };
    let endless = matches!(served, Some(Served::Endless(_)));
    let length = if endless { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let more = if more.is_empty() { String::new() } else { format!("{more}\r\n") };
    let head = format!("HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nConnection: close\r\n{length}{more}\r\n");
    client.write_all(head.as_bytes())?;
    match served {
        _ if method == "HEAD" => Ok(()),
        Some(Served::Half(body)) => client.write_all(&body[..body.len() / 2]),
        Some(Served::Endless(_)) => loop {
            client.write_all(&[b' '; 64 << 10])?;
        },
        _ => client.write_all(body),
    }
}

/// An image in the making, under `/v2/NAME/`.
pub struct Image {
    name: String,
    pub site: Site,
    pub config: Value,
    pub manifest: Value,
}

impl Image {
    /// With these archives as layers, whole and right.
    pub fn of(name: &str, layers: &[Vec<u8>]) -> Self {
        let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
        let config = json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }, "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let mut image = Self { name: name.to_owned(), site: Site::new(), config, manifest: Value::Null };
        let layers: Vec<Value> = layers.iter().map(|layer| image.blob(OCI_LAYER, layer.clone())).collect();
        image.manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": layers});
        image
    }

    fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.name)
    }

    /// Puts something at a path below the image's.
    pub fn put(&mut self, rest: &str, served: Served) {
        let path = self.path(rest);
        self.site.insert(path, served);
    }

    /// Puts a blob under its digest; its descriptor.
    pub fn blob(&mut self, kind: &str, bytes: Vec<u8>) -> Value {
        let descriptor = json!({"mediaType": kind, "digest": Digest::of(&bytes).to_string(), "size": bytes.len()});
        self.put(&format!("blobs/{}", Digest::of(&bytes)), Served::Body("application/octet-stream", bytes));
        descriptor
    }

    /// Puts a document under its digest; its descriptor.
    pub fn document(&mut self, kind: &'static str, bytes: Vec<u8>) -> Value {
        let descriptor = json!({"mediaType": kind, "digest": Digest::of(&bytes).to_string(), "size": bytes.len()});
        self.put(&format!("manifests/{}", Digest::of(&bytes)), Served::Body(kind, bytes));
        descriptor
    }

    /// Puts a document under the tag `1`, and under its digest.
    pub fn tag(&mut self, kind: &'static str, bytes: Vec<u8>) {
        self.put("manifests/1", Served::Body(kind, bytes.clone()));
        self.document(kind, bytes);
    }

    /// Everything, with configuration and manifest as they are now.
    pub fn finish(mut self) -> Site {
        if self.manifest["config"].is_null() {
            let config = self.config.to_string().into_bytes();
            self.manifest["config"] = self.blob(OCI_CONFIG, config);
        }
        let manifest = self.manifest.to_string().into_bytes();
        self.tag(OCI_MANIFEST, manifest);
        self.site
    }

    /// Where the layer of this number is.
    pub fn layer_path(&self, at: usize) -> String {
        format!("blobs/{}", self.manifest["layers"][at]["digest"].as_str().unwrap_or_default())
    }
}
