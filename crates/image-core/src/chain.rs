//! Names of layers stacked on each other (image-spec config.md, "Layer ChainID").

use ids::Digest;

/// The chain of the topmost layer; `None` for an image without layers.
pub fn chain_id(diff_ids: &[Digest]) -> Option<Digest> {
    chain_ids(diff_ids).pop()
}

/// The chain of every layer, lowest first: a layer's own digest at the bottom, above it the digest of the chain below and
/// the layer's, as text with a blank between.
pub fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let id = match chain.last() {
            Some(below) => Digest::of(format!("{below} {diff_id}")),
            None => *diff_id,
        };
        chain.push(id);
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_names_all_layers_below() {
        let (one, two) = (Digest::of("1"), Digest::of("2"));
        assert_eq!(chain_ids(&[]), []);
        assert_eq!(chain_ids(&[one, two]), [one, Digest::of(format!("{one} {two}"))]);
        assert_ne!(chain_id(&[one, two]), chain_id(&[two, one]));
    }
}
