//! Bind mounts that the parent makes: a process in a user namespace of its own may neither reach every source nor clear
//! every attribute, and id maps are set by who owns the file system (mount_setattr(2)).

use super::mount_options::{IdMapOption, Parsed};
use super::mounts::Context;
use super::namespaces::CLONE_NEWUSER;
use super::{Attributes, IdMap, IdMapSource, InRoot, Open, Plan, Slot, Step, Tree};
use crate::error::c_string;
use crate::spec::Mount;
use crate::{SpecError, validate};
use std::ffi::CString;

/// The slot of a bind mount's tree; `None`: the child makes it itself.
pub(super) fn of_bind(
    plan: &mut Plan,
    context: &Context,
    mount: &Mount,
    parsed: &Parsed,
    source: &CString,
) -> Result<Option<Slot>, SpecError> {
    let id_map = id_map(context, mount, parsed)?;
    if id_map.is_none() && !context.parent_copies_mounts() {
        return Ok(None);
    }
    let tree = Tree {
        source: source.clone(),
        recursive: parsed.recursive_bind,
        attributes: parsed.attributes,
        propagation: context.first_propagation,
        id_map,
    };
    let Some(path) = below_root(context, source) else { return plan.open(Open::Tree(tree)).map(Some) };
    // Its attributes are the child's to set: it cannot know any more that the parent has.
    let slot = plan.open(Open::LateTree(Tree { attributes: Attributes::default(), ..tree }))?;
    plan.push(Step::AskForTree { slot, path: InRoot::new(path)? });
    Ok(Some(slot))
}

/// The part of a source behind the root file system's own path.
fn below_root<'a>(context: &Context, source: &'a CString) -> Option<&'a str> {
    let below = source.to_str().ok()?.strip_prefix(context.facts.rootfs.as_str())?;
    (below.starts_with('/') && context.facts.rootfs != "/").then_some(below)
}

/// A mount of the host's under its own ids. What attributes it is to have has to be said here: those of the step that
/// attaches it are left out once the parent has made it.
pub(super) fn plain(
    plan: &mut Plan,
    context: &Context,
    source: &str,
    recursive: bool,
    attributes: Attributes,
) -> Result<Slot, SpecError> {
    plan.open(Open::Tree(Tree {
        source: c_string("mount source", source)?,
        recursive,
        attributes,
        propagation: context.first_propagation,
        id_map: None,
    }))
}

/// Without mappings of its own a mount has the container's (runtime-spec config.md, mounts).
fn id_map(context: &Context, mount: &Mount, parsed: &Parsed) -> Result<Option<IdMap>, SpecError> {
    let own = !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty();
    if !own && parsed.id_map.is_none() {
        return Ok(None);
    }
    let recursive = parsed.id_map == Some(IdMapOption::Recursive);
    let at = &mount.destination;
    if own {
        if mount.uid_mappings.is_empty() || mount.gid_mappings.is_empty() {
            return Err(SpecError::Invalid(format!("the mount at {at:?} needs both uidMappings and gidMappings")));
        }
        validate::id_mappings(at, &mount.uid_mappings, &mount.gid_mappings)?;
        let users = IdMapSource::Maps { uids: mount.uid_mappings.clone(), gids: mount.gid_mappings.clone() };
        return Ok(Some(IdMap { users, recursive }));
    }
    if let Some((_, path)) = context.namespaces.join.iter().find(|(kind, _)| *kind == CLONE_NEWUSER) {
        return Ok(Some(IdMap { users: IdMapSource::Namespace(path.clone()), recursive }));
    }
    let linux = &context.spec.linux;
    if linux.uid_mappings.is_empty() {
        return Err(SpecError::Invalid(format!(
            "the mount at {at:?} is to be id-mapped, but neither it nor the container has mappings"
        )));
    }
    let users = IdMapSource::Maps { uids: linux.uid_mappings.clone(), gids: linux.gid_mappings.clone() };
    Ok(Some(IdMap { users, recursive }))
}
