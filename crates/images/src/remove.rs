//! `docker image rm`: which names go, whether the image goes, and why not. The decision is a pure function; Docker's
//! rules are those of its image service (soft conflicts can be forced, hard ones cannot).

use ids::{Digest, Reference, short};

use crate::backend::{Collect, Record};
use crate::error::ImagesError;
use crate::events::{ImageEventKind, ImageUser};
use crate::name::{Name, dangling};
use crate::resolve::{ById, Found, has_prefix, repo_digests};
use crate::service::Images;

#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveOptions {
    pub force: bool,
    /// Whether what the image leaves without a name goes as well. The store keeps no nameless parents: there is nothing
    /// else to prune, and the flag exists since Docker's clients send it.
    pub prune: bool,
}

/// One line of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A name, or a repository's digest.
    Untagged(String),
    /// An image's or a layer's id.
    Deleted(String),
}

/// What is known when the decision is made.
struct Case<'a> {
    id: Digest,
    /// What the user typed.
    typed: &'a str,
    force: bool,
    /// Names in the store, by tag and by digest.
    names: Vec<Reference>,
    /// Repositories' digests that are shown beside them.
    digests: Vec<Reference>,
    users: &'a [ImageUser],
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq, Default)]
struct Plan {
    /// Names to remove.
    names: Vec<Reference>,
    /// What to tell about it.
    untagged: Vec<String>,
    outcome: Outcome,
}

#[derive(Debug, PartialEq, Eq, Default)]
enum Outcome {
    /// The image has other names.
    #[default]
    Named,
    /// It is used: it stays without a name.
    Nameless,
    Deleted,
}

impl Images {
    /// Removes a name, or an image with its names. The answer is in Docker's order.
    pub async fn remove(&self, name: &str, options: RemoveOptions) -> Result<Vec<Removed>, ImagesError> {
        let found = self.find(name).await?;
        let users = self.shared.users.users_of(&found.image.id);
        let parse = |text: &String| Reference::parse_familiar(text).ok();
        let case = Case {
            id: found.image.id,
            typed: name,
            force: options.force,
            names: found.records.iter().filter_map(reference_of).collect(),
            digests: repo_digests(&self.backend, &found.records).await?.iter().filter_map(parse).collect(),
            users: &users,
        };
        let plan = decide(&case)?;
        let mut removed: Vec<Removed> = plan.untagged.iter().cloned().map(Removed::Untagged).collect();
        if plan.outcome == Outcome::Deleted {
            removed.push(Removed::Deleted(found.image.id.to_string()));
            if users.is_empty() {
                let layers = orphaned_layers(&found, &self.all().await?);
                removed.extend(layers.iter().map(|layer| Removed::Deleted(layer.to_string())));
            }
        }
        self.carry_out(&found, &plan, Collect::Now).await?;
        Ok(removed)
    }

    /// Removes an image that nobody uses with all its names.
    pub(crate) async fn remove_whole(&self, found: &Found, collect: Collect) -> Result<Vec<Removed>, ImagesError> {
        let names: Vec<Reference> = found.records.iter().filter_map(reference_of).collect();
        let digests = repo_digests(&self.backend, &found.records).await?;
        let digests: Vec<Reference> = digests.iter().filter_map(|text| Reference::parse_familiar(text).ok()).collect();
        let untagged = untagged(&names, digests.iter());
        let layers = orphaned_layers(found, &self.all().await?);
        let plan = Plan { names, untagged, outcome: Outcome::Deleted };
        self.carry_out(found, &plan, collect).await?;
        let deleted = std::iter::once(found.image.id).chain(layers).map(|id| Removed::Deleted(id.to_string()));
        Ok(plan.untagged.iter().cloned().map(Removed::Untagged).chain(deleted).collect())
    }

    async fn carry_out(&self, found: &Found, plan: &Plan, collect: Collect) -> Result<(), ImagesError> {
        let id = found.image.id.to_string();
        if plan.outcome == Outcome::Nameless
            && let Some(record) = found.records.first()
        {
            // First the new name, then the old ones go: it is never without.
            let name = dangling(&record.target.digest);
            self.backend.put_record(&Record::new(name, record.target.clone())).await?;
        }
        let mut going: Vec<String> = plan.names.iter().map(Reference::to_string).collect();
        if plan.outcome == Outcome::Deleted {
            let others = found.records.iter().map(|record| record.name.clone());
            going.extend(others.filter(|name| Name::parse(name) == Name::Dangling));
        }
        for (at, name) in going.iter().enumerate() {
            let last = plan.outcome == Outcome::Deleted && at + 1 == going.len();
            self.backend.delete_record(name, if last { collect } else { Collect::Later }).await?;
        }
        self.forget_loaded(found);
        for name in &plan.untagged {
            self.event(ImageEventKind::Untag, &id, name, &found.image.config);
        }
        if plan.outcome == Outcome::Deleted {
            self.event(ImageEventKind::Delete, &id, &id, &found.image.config);
        }
        Ok(())
    }
}

fn reference_of(record: &Record) -> Option<Reference> {
    match Name::parse(&record.name) {
        Name::Reference(reference) => Some(reference),
        _ => None,
    }
}

/// Snapshots, the topmost first, that no other image stands on.
fn orphaned_layers(found: &Found, all: &ById) -> Vec<Digest> {
    let others = || all.values().filter(|other| other.image.id != found.image.id);
    let used = |chain: &Digest| others().any(|other| other.image.chain.contains(chain));
    found.image.chain.iter().rev().filter(|chain| !used(chain)).copied().collect()
}

fn decide(case: &Case<'_>) -> Result<Plan, ImagesError> {
    if has_prefix(&case.id, case.typed) { decide_by_id(case) } else { decide_by_name(case) }
}

fn decide_by_name(case: &Case<'_>) -> Result<Plan, ImagesError> {
    if !case.force
        && is_single(case)
        && let Some(user) = case.users.first()
    {
        // Without its only name the image would be left nameless: the user must want that.
        return Err(ImagesError::ReferenceInUse {
            reference: case.typed.to_owned(),
            container: short(&user.container_id).to_owned(),
            image: short(&case.id.to_string()).to_owned(),
        });
    }
    let typed = Reference::parse_familiar(case.typed)?.with_default_tag();
    let repository = typed.name();
    // A digest stands for all names of its repository.
    let goes = |name: &&Reference| if typed.digest().is_some() { name.name() == repository } else { **name == typed };
    let mut plan = Plan::default();
    plan.names.extend(case.names.iter().filter(goes).cloned());
    if plan.names.is_empty() {
        return Err(ImagesError::NoSuchReference);
    }
    let mut left: Vec<&Reference> = case.names.iter().filter(|name| !plan.names.contains(name)).collect();
    // With a repository's last tag its digests go.
    if !left.iter().any(|name| name.name() == repository && name.digest().is_none()) {
        plan.names.extend(left.iter().filter(|name| name.name() == repository).map(|name| (*name).clone()));
        left.retain(|name| name.name() != repository);
        plan.untagged = untagged(&plan.names, case.digests.iter().filter(|digest| digest.name() == repository));
    } else {
        plan.untagged = untagged(&plan.names, std::iter::empty());
    }
    if !left.is_empty() {
        return Ok(plan);
    }
    // Quietly: what stands against deleting is no error, the name is gone as was asked.
    let kept = case.users.iter().any(|user| user.running || !case.force);
    plan.outcome = if kept { Outcome::Nameless } else { Outcome::Deleted };
    Ok(plan)
}

fn decide_by_id(case: &Case<'_>) -> Result<Plan, ImagesError> {
    let conflict = |hard: bool, reason: String| ImagesError::DeleteConflict {
        image: short(&case.id.to_string()).to_owned(),
        hard,
        reason,
    };
    if let Some(user) = case.users.iter().find(|user| user.running) {
        let reason = format!("image is being used by running container {}", short(&user.container_id));
        return Err(conflict(true, reason));
    }
    if !case.force {
        if !case.names.is_empty() && !is_single(case) {
            return Err(conflict(false, "image is referenced in multiple repositories".to_owned()));
        }
        if let Some(user) = case.users.first() {
            let reason = format!("image is being used by stopped container {}", short(&user.container_id));
            return Err(conflict(false, reason));
        }
    }
    let untagged = untagged(&case.names, case.digests.iter());
    Ok(Plan { names: case.names.clone(), untagged, outcome: Outcome::Deleted })
}

/// At most one tag, and nothing outside its repository.
fn is_single(case: &Case<'_>) -> bool {
    let mut tags = case.names.iter().filter(|name| name.digest().is_none());
    let (first, second) = (tags.next(), tags.next());
    let Some(home) = first.or(case.names.first()) else { return false };
    second.is_none() && case.names.iter().chain(&case.digests).all(|name| name.name() == home.name())
}

/// Names as users write them: tags, then digests, each once.
fn untagged<'a>(names: &[Reference], digests: impl Iterator<Item = &'a Reference>) -> Vec<String> {
    let mut lines: Vec<String> = names.iter().map(Reference::familiar).collect();
    for digest in digests.map(Reference::familiar) {
        if !lines.contains(&digest) {
            lines.push(digest);
        }
    }
    lines
}

#[cfg(test)]
mod tests;
