//! Which objects of a namespace nobody needs: marking, from roots along references (containerd's docs/garbage-collection.md).
//!
//! Roots are images, containers, leases and what they hold, and objects labelled `containerd.io/gc.root` or with a
//! `containerd.io/gc.expire` that is still to come. References are an image's target, a container's snapshot, a
//! snapshot's parent, and the labels `containerd.io/gc.ref.*` (forward) and `containerd.io/gc.bref.*` (backward). What is
//! new is spared for a while: clients without a lease make an object first and refer to it a moment later.
//! Pure: facts and the time come in, names go out. References never cross a namespace.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, SystemTime};

const ROOT: &str = "containerd.io/gc.root";
const EXPIRE: &str = "containerd.io/gc.expire";
const FLAT: &str = "containerd.io/gc.flat";
const FORWARD: &str = "containerd.io/gc.ref.";
const BACKWARD: &str = "containerd.io/gc.bref.";
/// How long an ingest without a lease is kept after it was last written to.
const INGEST_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

pub type Labels = BTreeMap<String, String>;

/// Everything of one namespace that marking has to know.
#[derive(Debug, Default, Clone)]
pub struct Survey {
    pub images: Vec<Image>,
    pub containers: Vec<Container>,
    pub leases: Vec<Lease>,
    pub contents: Vec<Content>,
    pub snapshots: Vec<Snapshot>,
    pub ingests: Vec<Ingest>,
}

#[derive(Debug, Default, Clone)]
pub struct Image {
    pub name: String,
    pub target: String,
    pub labels: Labels,
}

#[derive(Debug, Default, Clone)]
pub struct Container {
    pub id: String,
    pub snapshotter: String,
    pub snapshot: String,
    pub labels: Labels,
}

#[derive(Debug, Default, Clone)]
pub struct Lease {
    pub id: String,
    pub labels: Labels,
    /// (type, id): `content`, `ingests`, `images` or `snapshots/NAME`.
    pub resources: Vec<(String, String)>,
}

#[derive(Debug, Clone)]
pub struct Content {
    pub digest: String,
    pub labels: Labels,
    pub created_at: SystemTime,
}

#[derive(Debug, Clone)]
pub struct Snapshot {
    pub snapshotter: String,
    pub key: String,
    pub parent: String,
    pub labels: Labels,
    pub created_at: SystemTime,
}

#[derive(Debug, Clone)]
pub struct Ingest {
    pub reference: String,
    /// Begun under a lease: nothing but a lease keeps it.
    pub leased: bool,
    pub updated_at: SystemTime,
}

/// What may go. Snapshots stand in the order in which they can be removed: children first.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Garbage {
    pub leases: Vec<String>,
    pub images: Vec<String>,
    pub contents: Vec<String>,
    pub snapshots: Vec<(String, String)>,
    pub ingests: Vec<String>,
    /// How many objects nobody needs, but which are too new to go.
    pub spared: usize,
}

impl Garbage {
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
            && self.images.is_empty()
            && self.contents.is_empty()
            && self.snapshots.is_empty()
            && self.ingests.is_empty()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Node {
    /// `flat`: held itself, but not what its labels refer to.
    Content {
        digest: String,
        flat: bool,
    },
    Snapshot {
        snapshotter: String,
        key: String,
        flat: bool,
    },
    Image {
        name: String,
        flat: bool,
    },
    Container(String),
    Ingest(String),
}

/// Marks from the roots and answers everything that was not reached, except what was made less than `grace` ago.
pub fn unreferenced(survey: &Survey, now: SystemTime, grace: Duration) -> Garbage {
    let mut marking = Marking::new(survey, now);
    let expired_leases = marking.mark_roots(survey);
    marking.follow();
    let spared = marking.spare(survey, grace);
    let reached = |node: Node| marking.reached.contains(&node);
    Garbage {
        leases: expired_leases,
        images: survey
            .images
            .iter()
            .filter(|image| !any_flat(|flat| reached(Node::Image { name: image.name.clone(), flat })))
            .map(|image| image.name.clone())
            .collect(),
        contents: survey
            .contents
            .iter()
            .filter(|content| !any_flat(|flat| reached(Node::Content { digest: content.digest.clone(), flat })))
            .map(|content| content.digest.clone())
            .collect(),
        snapshots: children_first(
            survey
                .snapshots
                .iter()
                .filter(|snapshot| {
                    let (snapshotter, key) = (snapshot.snapshotter.clone(), snapshot.key.clone());
                    !any_flat(|flat| {
                        reached(Node::Snapshot { snapshotter: snapshotter.clone(), key: key.clone(), flat })
                    })
                })
                .collect(),
        ),
        ingests: survey
            .ingests
            .iter()
            .filter(|ingest| !reached(Node::Ingest(ingest.reference.clone())))
            .map(|ingest| ingest.reference.clone())
            .collect(),
        spared,
    }
}

fn any_flat(test: impl Fn(bool) -> bool) -> bool {
    test(false) || test(true)
}

fn children_first(mut rest: Vec<&Snapshot>) -> Vec<(String, String)> {
    let mut ordered = Vec::with_capacity(rest.len());
    while !rest.is_empty() {
        let parents: HashSet<(&str, &str)> =
            rest.iter().map(|snapshot| (snapshot.snapshotter.as_str(), snapshot.parent.as_str())).collect();
        let (inner, leaves): (Vec<&Snapshot>, Vec<&Snapshot>) =
            rest.iter().partition(|snapshot| parents.contains(&(snapshot.snapshotter.as_str(), snapshot.key.as_str())));
        // A ring cannot come from a snapshotter; if records are broken so, everything in it is left alone.
        if leaves.is_empty() {
            return ordered;
        }
        ordered.extend(leaves.iter().map(|snapshot| (snapshot.snapshotter.clone(), snapshot.key.clone())));
        rest = inner;
    }
    ordered
}

struct Marking<'a> {
    now: SystemTime,
    contents: HashMap<&'a str, &'a Content>,
    snapshots: HashMap<(&'a str, &'a str), &'a Snapshot>,
    images: HashMap<&'a str, &'a Image>,
    containers: HashMap<&'a str, &'a Container>,
    /// From an object to those that attached themselves to it by a backward label.
    backward: HashMap<Node, Vec<Node>>,
    reached: HashSet<Node>,
    waiting: Vec<Node>,
}

impl<'a> Marking<'a> {
    fn new(survey: &'a Survey, now: SystemTime) -> Self {
        Self {
            now,
            contents: survey.contents.iter().map(|content| (content.digest.as_str(), content)).collect(),
            snapshots: survey
                .snapshots
                .iter()
                .map(|snapshot| ((snapshot.snapshotter.as_str(), snapshot.key.as_str()), snapshot))
                .collect(),
            images: survey.images.iter().map(|image| (image.name.as_str(), image)).collect(),
            containers: survey.containers.iter().map(|container| (container.id.as_str(), container)).collect(),
            backward: HashMap::new(),
            reached: HashSet::new(),
            waiting: Vec::new(),
        }
    }

    fn reach(&mut self, node: Node) {
        if self.reached.insert(node.clone()) {
            self.waiting.push(node);
        }
    }

    /// Reaches every root; answers the leases that have expired.
    fn mark_roots(&mut self, survey: &Survey) -> Vec<String> {
        let mut expired = Vec::new();
        for lease in &survey.leases {
            if expiry(&lease.labels).is_some_and(|at| at < self.now) {
                expired.push(lease.id.clone());
                continue;
            }
            let flat = lease.labels.contains_key(FLAT);
            for (kind, id) in &lease.resources {
                if let Some(node) = leased(kind, id, flat) {
                    self.reach(node);
                }
            }
        }
        for image in &survey.images {
            let node = Node::Image { name: image.name.clone(), flat: false };
            if expiry(&image.labels).is_none_or(|at| at >= self.now) {
                self.reach(node);
            } else {
                self.attach(&node, &image.labels);
            }
        }
        for container in &survey.containers {
            let node = Node::Container(container.id.clone());
            self.attach(&node, &container.labels);
            self.reach(node);
        }
        for content in &survey.contents {
            self.consider(Node::Content { digest: content.digest.clone(), flat: false }, &content.labels);
        }
        for snapshot in &survey.snapshots {
            let (snapshotter, key) = (snapshot.snapshotter.clone(), snapshot.key.clone());
            self.consider(Node::Snapshot { snapshotter, key, flat: false }, &snapshot.labels);
        }
        for ingest in &survey.ingests {
            if !ingest.leased && ingest.updated_at + INGEST_LIFETIME > self.now {
                self.reach(Node::Ingest(ingest.reference.clone()));
            }
        }
        expired
    }

    /// Reaches what is new, with everything it refers to; answers how many new objects nothing else has reached.
    fn spare(&mut self, survey: &Survey, grace: Duration) -> usize {
        let new = |created_at: SystemTime| created_at + grace > self.now;
        let contents = survey.contents.iter().filter(|content| new(content.created_at)).map(|content| {
            let digest = content.digest.clone();
            [Node::Content { digest: digest.clone(), flat: false }, Node::Content { digest, flat: true }]
        });
        let snapshots = survey.snapshots.iter().filter(|snapshot| new(snapshot.created_at)).map(|snapshot| {
            let node = |flat| {
                let (snapshotter, key) = (snapshot.snapshotter.clone(), snapshot.key.clone());
                Node::Snapshot { snapshotter, key, flat }
            };
            [node(false), node(true)]
        });
        let unreached: Vec<Node> = contents
            .chain(snapshots)
            .filter(|both| !both.iter().any(|node| self.reached.contains(node)))
            .map(|[node, _]| node)
            .collect();
        let spared = unreached.len();
        for node in unreached {
            self.reach(node);
        }
        self.follow();
        spared
    }

    /// An object that is a root only if its labels say so.
    fn consider(&mut self, node: Node, labels: &Labels) {
        self.attach(&node, labels);
        if labels.contains_key(ROOT) || expiry(labels).is_some_and(|at| at > self.now) {
            self.reach(node);
        }
    }

    fn attach(&mut self, node: &Node, labels: &Labels) {
        for (name, value) in labels {
            if let Some(owner) = name.strip_prefix(BACKWARD).and_then(|kind| referred(kind, value)) {
                self.backward.entry(owner).or_default().push(node.clone());
            }
        }
    }

    fn follow(&mut self) {
        while let Some(node) = self.waiting.pop() {
            for attached in self.backward.get(&node).cloned().unwrap_or_default() {
                self.reach(attached);
            }
            match &node {
                Node::Content { digest, flat } => {
                    if let (Some(content), false) = (self.contents.get(digest.as_str()), *flat) {
                        self.follow_labels(&content.labels);
                    }
                }
                Node::Snapshot { snapshotter, key, flat } => {
                    let Some(snapshot) = self.snapshots.get(&(snapshotter.as_str(), key.as_str())).copied() else {
                        continue;
                    };
                    if !snapshot.parent.is_empty() {
                        let (snapshotter, key) = (snapshotter.clone(), snapshot.parent.clone());
                        self.reach(Node::Snapshot { snapshotter, key, flat: *flat });
                    }
                    if !flat {
                        self.follow_labels(&snapshot.labels);
                    }
                }
                Node::Image { name, flat } => {
                    let Some(image) = self.images.get(name.as_str()).copied() else { continue };
                    self.reach(Node::Content { digest: image.target.clone(), flat: *flat });
                    if !flat {
                        self.follow_labels(&image.labels);
                    }
                }
                Node::Container(id) => {
                    let Some(container) = self.containers.get(id.as_str()).copied() else { continue };
                    if !container.snapshotter.is_empty() {
                        let (snapshotter, key) = (container.snapshotter.clone(), container.snapshot.clone());
                        self.reach(Node::Snapshot { snapshotter, key, flat: false });
                    }
                    self.follow_labels(&container.labels);
                }
                Node::Ingest(_) => {}
            }
        }
    }

    fn follow_labels(&mut self, labels: &Labels) {
        for (name, value) in labels {
            if let Some(node) = name.strip_prefix(FORWARD).and_then(|kind| referred(kind, value)) {
                self.reach(node);
            }
        }
    }
}

/// What a label `…ref.KIND` with this value means: `content[.x]`, `image[.x]`, `container[.x]`, `snapshot.NAME[/x]`.
fn referred(kind: &str, value: &str) -> Option<Node> {
    if let Some(rest) = kind.strip_prefix("snapshot.") {
        let snapshotter = rest.split('/').next().unwrap_or(rest).to_owned();
        return Some(Node::Snapshot { snapshotter, key: value.to_owned(), flat: false });
    }
    match kind.split(['.', '/']).next()? {
        "content" => Some(Node::Content { digest: value.to_owned(), flat: false }),
        "image" => Some(Node::Image { name: value.to_owned(), flat: false }),
        "container" => Some(Node::Container(value.to_owned())),
        _ => None,
    }
}

fn leased(kind: &str, id: &str, flat: bool) -> Option<Node> {
    match kind {
        "content" => Some(Node::Content { digest: id.to_owned(), flat }),
        "images" => Some(Node::Image { name: id.to_owned(), flat }),
        "ingests" => Some(Node::Ingest(id.to_owned())),
        _ => {
            let snapshotter = kind.strip_prefix("snapshots/")?.to_owned();
            Some(Node::Snapshot { snapshotter, key: id.to_owned(), flat })
        }
    }
}

/// The time in `gc.expire`; one that cannot be read counts as none, so that nothing goes because of it.
fn expiry(labels: &Labels) -> Option<SystemTime> {
    let timestamp: prost_types::Timestamp = labels.get(EXPIRE)?.parse().ok()?;
    SystemTime::try_from(timestamp).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    const NOW: SystemTime = UNIX_EPOCH;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn content(digest: &str, pairs: &[(&str, &str)]) -> Content {
        Content { digest: digest.into(), labels: labels(pairs), created_at: UNIX_EPOCH }
    }

    fn snapshot(key: &str, parent: &str, pairs: &[(&str, &str)]) -> Snapshot {
        Snapshot {
            snapshotter: "overlayfs".into(),
            key: key.into(),
            parent: parent.into(),
            labels: labels(pairs),
            created_at: UNIX_EPOCH,
        }
    }

    fn now() -> SystemTime {
        NOW + Duration::from_secs(1_700_000_000)
    }

    fn found(survey: &Survey) -> Garbage {
        unreferenced(survey, now(), Duration::ZERO)
    }

    #[test]
    fn what_is_new_is_spared_with_what_it_refers_to() {
        let mut survey =
            Survey { snapshots: vec![snapshot("old", "", &[]), snapshot("new", "old", &[])], ..Survey::default() };
        survey.snapshots[1].created_at = now() - Duration::from_secs(5);
        let found = unreferenced(&survey, now(), Duration::from_secs(60));
        assert_eq!((found.is_empty(), found.spared), (true, 1));
        let found = unreferenced(&survey, now(), Duration::from_secs(1));
        assert_eq!((found.snapshots.len(), found.spared), (2, 0));
    }

    /// index → manifest → config → top snapshot → bottom snapshot, as a pull leaves them.
    fn pulled() -> Survey {
        Survey {
            images: vec![Image { name: "busybox".into(), target: "index".into(), labels: Labels::new() }],
            contents: vec![
                content("index", &[("containerd.io/gc.ref.content.m.0", "manifest")]),
                content(
                    "manifest",
                    &[("containerd.io/gc.ref.content.config", "config"), ("containerd.io/gc.ref.content.l.0", "layer")],
                ),
                content("config", &[("containerd.io/gc.ref.snapshot.overlayfs", "top")]),
                content("layer", &[]),
            ],
            snapshots: vec![snapshot("bottom", "", &[]), snapshot("top", "bottom", &[])],
            ..Survey::default()
        }
    }

    #[test]
    fn everything_of_an_image_stays_and_goes_with_it() {
        let mut survey = pulled();
        assert_eq!(found(&survey), Garbage::default());
        survey.images.clear();
        let garbage = found(&survey);
        assert_eq!(garbage.contents, ["index", "manifest", "config", "layer"]);
        let order: Vec<&str> = garbage.snapshots.iter().map(|(_, key)| key.as_str()).collect();
        assert_eq!(order, ["top", "bottom"], "children go first");
    }

    #[test]
    fn a_container_keeps_its_snapshot_and_those_below() {
        let mut survey = pulled();
        survey.images.clear();
        survey.contents.clear();
        survey.snapshots.push(snapshot("rw", "top", &[]));
        survey.containers.push(Container {
            id: "c".into(),
            snapshotter: "overlayfs".into(),
            snapshot: "rw".into(),
            labels: Labels::new(),
        });
        assert_eq!(found(&survey), Garbage::default());
    }

    #[test]
    fn a_lease_keeps_what_it_holds_until_it_expires() {
        let mut survey = pulled();
        survey.images.clear();
        survey.leases.push(Lease {
            id: "l".into(),
            labels: labels(&[(EXPIRE, "2100-01-01T00:00:00Z")]),
            resources: vec![("content".into(), "index".into())],
        });
        assert_eq!(found(&survey), Garbage::default());
        survey.leases[0].labels = labels(&[(EXPIRE, "2001-01-01T00:00:00Z")]);
        let garbage = found(&survey);
        assert_eq!((garbage.leases.len(), garbage.contents.len(), garbage.snapshots.len()), (1, 4, 2));
        survey.leases[0].labels = labels(&[(EXPIRE, "nonsense")]);
        assert_eq!(found(&survey), Garbage::default(), "an unreadable time removes nothing");
    }

    #[test]
    fn a_flat_lease_keeps_only_the_object_itself() {
        let mut survey = pulled();
        survey.images.clear();
        survey.leases.push(Lease {
            id: "l".into(),
            labels: labels(&[(FLAT, "")]),
            resources: vec![("content".into(), "config".into()), ("snapshots/overlayfs".into(), "top".into())],
        });
        let garbage = found(&survey);
        assert_eq!(garbage.contents, ["index", "manifest", "layer"]);
        assert!(garbage.snapshots.is_empty(), "the parent of a flat snapshot stays");
    }

    #[test]
    fn labels_make_roots_and_backward_references() {
        let survey = Survey {
            contents: vec![
                content("rooted", &[(ROOT, "2020-01-01")]),
                content("fresh", &[(EXPIRE, "2100-01-01T00:00:00Z")]),
                content("stale", &[(EXPIRE, "2001-01-01T00:00:00Z")]),
                content("attached", &[("containerd.io/gc.bref.content.x", "rooted")]),
                content("lost", &[("containerd.io/gc.bref.content.x", "stale")]),
            ],
            snapshots: vec![snapshot("kept", "", &[(ROOT, "")])],
            ..Survey::default()
        };
        assert_eq!(found(&survey).contents, ["stale", "lost"]);
    }

    #[test]
    fn an_ingest_stays_while_it_is_written_or_leased() {
        let ingest = |name: &str, hours: u64, leased| Ingest {
            reference: name.into(),
            leased,
            updated_at: now() - Duration::from_secs(hours * 3600),
        };
        let ingests = vec![ingest("new", 1, false), ingest("old", 30, false), ingest("leased", 0, true)];
        let mut survey = Survey { ingests, ..Survey::default() };
        assert_eq!(found(&survey).ingests, ["old", "leased"]);
        let held = ["old", "leased"].map(|name| ("ingests".to_owned(), name.to_owned()));
        survey.leases.push(Lease { resources: held.to_vec(), ..Lease::default() });
        assert!(found(&survey).ingests.is_empty());
    }

    #[test]
    fn rings_of_labels_end_and_go_when_nobody_points_into_them() {
        let survey = Survey {
            contents: vec![
                content("a", &[("containerd.io/gc.ref.content", "b")]),
                content("b", &[("containerd.io/gc.ref.content", "a")]),
            ],
            ..Survey::default()
        };
        assert_eq!(found(&survey).contents, ["a", "b"]);
    }
}
