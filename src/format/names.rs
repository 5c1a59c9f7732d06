//! Names of a model's tensors.
//!
//! **Source** transformers 5.24: `rename_source_key`.

/// Where a checkpoint's embedding is.
pub(crate) const EMBED: &str = "model.embed_tokens.weight";
/// Where its head is, unless that is the embedding.
pub(crate) const HEAD: &str = "lm_head.weight";
/// The norm before the head.
pub(crate) const NORM: &str = "model.norm.weight";

/// The name that a model's tensor has here: those that were saved without `model.` get it, and a
/// head with it loses it.
pub(super) fn canonical(name: &str) -> String {
    let base = ["embed_tokens.", "norm.", "layers."].iter().any(|part| name.starts_with(part));
    match name.strip_prefix("model.").filter(|rest| *rest == HEAD) {
        Some(head) => head.to_owned(),
        None if base => format!("model.{name}"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn names_are_those_of_the_causal_model() {
        for (from, to) in [
            ("layers.0.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight"),
            ("norm.weight", "model.norm.weight"),
            ("model.norm.weight", "model.norm.weight"),
            ("model.lm_head.weight", "lm_head.weight"),
            ("lm_head.weight", "lm_head.weight"),
            ("model.model.norm.weight", "model.model.norm.weight"),
        ] {
            assert_eq!(canonical(from), to);
        }
    }
}
