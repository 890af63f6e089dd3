use super::*;
use errors::{ErrorKind, Kind};

fn references(names: &[&str]) -> Vec<Reference> {
    names.iter().map(|name| Reference::parse_familiar(name).unwrap()).collect()
}

fn id() -> Digest {
    Digest::of("image")
}

fn user(running: bool) -> ImageUser {
    ImageUser { container_id: "0123456789abcdef".repeat(4), running }
}

struct Given<'a> {
    names: &'a [&'a str],
    digests: &'a [&'a str],
    users: Vec<ImageUser>,
}

fn decided(given: &Given<'_>, typed: &str, force: bool) -> Result<Plan, ImagesError> {
    decide(&Case {
        id: id(),
        typed,
        force,
        names: references(given.names),
        digests: references(given.digests),
        users: &given.users,
    })
}

fn digest_of(name: &str) -> String {
    format!("{name}@{}", Digest::of("manifest"))
}

#[test]
fn the_last_name_takes_its_digest_and_the_image_along() {
    let digest = digest_of("x");
    let given = Given { names: &["x:1"], digests: &[&digest], users: vec![] };
    let plan = decided(&given, "x:1", false).unwrap();
    assert_eq!(plan.untagged, ["x:1".to_owned(), digest]);
    assert_eq!(plan.outcome, Outcome::Deleted);
}

#[test]
fn one_of_several_names_leaves_the_image() {
    let digest = digest_of("x");
    let given = Given { names: &["x:1", "x:2"], digests: &[&digest], users: vec![user(true)] };
    let plan = decided(&given, "x:1", false).unwrap();
    assert_eq!((plan.untagged, plan.outcome), (vec!["x:1".to_owned()], Outcome::Named));
    let given = Given { names: &["x:1", "y:1"], digests: &[&digest], users: vec![] };
    let plan = decided(&given, "x:1", false).unwrap();
    assert_eq!((plan.untagged, plan.outcome), (vec!["x:1".to_owned(), digest], Outcome::Named));
}

#[test]
fn the_only_name_of_an_image_in_use_must_be_forced() {
    for running in [true, false] {
        let given = Given { names: &["x:latest"], digests: &[], users: vec![user(running)] };
        let error = decided(&given, "x", false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert_eq!(
            error.to_string(),
            format!(
                "conflict: unable to remove repository reference \"x\" (must force) - container 0123456789ab is using its \
                 referenced image {}",
                short(&id().to_string())
            )
        );
        let plan = decided(&given, "x", true).unwrap();
        assert_eq!(plan.untagged, ["x:latest"]);
        assert_eq!(plan.outcome, if running { Outcome::Nameless } else { Outcome::Deleted });
    }
}

#[test]
fn an_id_with_names_in_several_repositories_must_be_forced() {
    let given = Given { names: &["x:1", "y:1"], digests: &[], users: vec![] };
    let typed = &id().hex()[..12];
    let error = decided(&given, typed, false).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("conflict: unable to delete {typed} (must be forced) - image is referenced in multiple repositories")
    );
    let plan = decided(&given, typed, true).unwrap();
    assert_eq!((plan.untagged, plan.outcome), (vec!["x:1".to_owned(), "y:1".to_owned()], Outcome::Deleted));
}

#[test]
fn an_id_takes_its_one_name_along() {
    let digest = digest_of("x");
    let given = Given { names: &["x:1"], digests: &[&digest], users: vec![] };
    let plan = decided(&given, &id().to_string(), false).unwrap();
    assert_eq!((plan.untagged, plan.outcome), (vec!["x:1".to_owned(), digest], Outcome::Deleted));
}

#[test]
fn a_running_container_cannot_be_overruled_by_id() {
    let given = Given { names: &["x:1"], digests: &[], users: vec![user(true)] };
    for force in [false, true] {
        let error = decided(&given, &id().hex(), force).unwrap_err().to_string();
        let image = short(&id().to_string()).to_owned();
        assert_eq!(
            error,
            format!(
                "conflict: unable to delete {image} (cannot be forced) - image is being used by running container 0123456789ab"
            )
        );
    }
}

#[test]
fn a_stopped_container_can_be_overruled_by_id() {
    let given = Given { names: &[], digests: &[], users: vec![user(false)] };
    let error = decided(&given, &id().hex(), false).unwrap_err().to_string();
    assert!(error.ends_with("(must be forced) - image is being used by stopped container 0123456789ab"), "{error}");
    assert_eq!(decided(&given, &id().hex(), true).unwrap().outcome, Outcome::Deleted);
}

#[test]
fn a_digest_takes_all_names_of_its_repository() {
    let digest = digest_of("x");
    let given = Given { names: &["x:1", "x:2"], digests: &[&digest], users: vec![] };
    let plan = decided(&given, &digest, false).unwrap();
    assert_eq!(plan.untagged, ["x:1".to_owned(), "x:2".to_owned(), digest]);
    assert_eq!(plan.outcome, Outcome::Deleted);
}
