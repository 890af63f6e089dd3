//! The label by which a blob tells the repositories of a registry that it was seen in, containerd's too: pushes mount from
//! them.

use ids::Reference;

/// Repositories remembered for one blob.
const MAX_SOURCES: usize = 16;

/// The label's key for a registry.
pub fn source_key(domain: &str) -> String {
    format!("containerd.io/distribution.source.{domain}")
}

/// The label with this repository beside those that are known.
pub fn source_label(reference: &Reference, known: Option<&str>) -> (String, String) {
    let mut all = sources(known);
    if !all.contains(&reference.path()) {
        all.push(reference.path());
    }
    let first = all.len().saturating_sub(MAX_SOURCES);
    (source_key(reference.domain()), all[first..].join(","))
}

/// The repositories that the label's value names.
pub fn sources(known: Option<&str>) -> Vec<&str> {
    known.unwrap_or_default().split(',').filter(|source| !source.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_added_once_and_bounded() {
        let reference = |path: &str| Reference::parse_familiar(&format!("reg:5000/{path}")).unwrap();
        let (key, value) = source_label(&reference("a"), None);
        assert_eq!((key.as_str(), value.as_str()), ("containerd.io/distribution.source.reg:5000", "a"));
        assert_eq!(source_label(&reference("b"), Some("a")).1, "a,b");
        assert_eq!(source_label(&reference("a"), Some("a,b")).1, "a,b");
        let many = (0..40).fold(String::new(), |all, n| source_label(&reference(&format!("r{n}")), Some(&all)).1);
        assert_eq!(many.split(',').count(), MAX_SOURCES);
        assert!(many.ends_with("r39"));
        assert_eq!(sources(Some("a,b")), ["a", "b"]);
    }
}
