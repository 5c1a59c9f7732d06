//! How a tokenizer spells the prices 0 to 999.

use std::collections::BTreeMap;

use super::Encode;
use crate::{Error, Result};

/// How the answer to a question for a price begins.
pub const PREFIX: &str = "Price is $";

/// The largest price that has a path: the course's prices end at $999.49.
pub const LARGEST: u32 = 999;

/// The token paths of all prices, as a trie: depth one where every price is one token (Llama 3),
/// three where every digit is one (SmolLM2).
#[derive(Clone, Debug)]
pub struct PriceTrie {
    nodes: Vec<Node>,
}

/// A place on the way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    /// The price that may end here.
    pub(crate) price: Option<u32>,
    /// Token to node.
    pub(crate) children: BTreeMap<u32, usize>,
}

impl PriceTrie {
    /// Reads the paths off a tokenizer: what `Price is $189` has behind `Price is $`.
    ///
    /// **Errors** [`Error::Unsupported`] if a tokenizer joins the dollar sign and the digits.
    pub fn new(tokenizer: &(impl Encode + ?Sized)) -> Result<PriceTrie> {
        PriceTrie::spelled(|text| tokenizer.encode_inside(text))
    }

    pub(super) fn spelled(encode: impl Fn(&str) -> Result<Vec<u32>>) -> Result<PriceTrie> {
        let prefix = encode(PREFIX)?;
        let mut trie = PriceTrie { nodes: vec![Node::default()] };
        for price in 0..=LARGEST {
            let ids = encode(&format!("{PREFIX}{price}"))?;
            let Some(path) = ids.strip_prefix(prefix.as_slice()).filter(|path| !path.is_empty())
            else {
                return Err(Error::Unsupported {
                    what: format!(
                        "prices by a tokenizer that joins `$` and `{price}` to one token"
                    ),
                    hint: "use a model whose numbers are tokens of their own, such as Llama 3"
                        .into(),
                });
            };
            let mut at = 0;
            for &id in path {
                at = match trie.nodes[at].children.get(&id) {
                    Some(&child) => child,
                    None => {
                        trie.nodes.push(Node::default());
                        let child = trie.nodes.len() - 1;
                        trie.nodes[at].children.insert(id, child);
                        child
                    }
                };
            }
            trie.nodes[at].price = Some(price);
        }
        Ok(trie)
    }

    pub(crate) fn node(&self, index: usize) -> &Node {
        &self.nodes[index]
    }

    /// Tokens of the longest path.
    pub fn depth(&self) -> usize {
        fn below(trie: &PriceTrie, at: usize) -> usize {
            let children = trie.nodes[at].children.values();
            children.map(|&child| 1 + below(trie, child)).max().unwrap_or(0)
        }
        below(self, 0)
    }

    /// Whether some child of a node has children.
    pub(crate) fn leads_on(&self, at: usize) -> bool {
        let mut children = self.nodes[at].children.values();
        children.any(|&child| !self.nodes[child].children.is_empty())
    }

    /// Nodes of those levels below the root that hold a node that leads on (`leads_on`): what a
    /// walk of one prompt has to look back at, at most.
    pub fn looked_back_at(&self) -> usize {
        let mut level = vec![0];
        let mut sum = 0;
        loop {
            let below = level.iter().flat_map(|&at| self.nodes[at].children.values().copied());
            level = below.filter(|&child| !self.nodes[child].children.is_empty()).collect();
            if !level.iter().any(|&at| self.leads_on(at)) {
                return sum;
            }
            sum += level.len();
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Every byte a token.
    pub(crate) fn digits() -> PriceTrie {
        PriceTrie::spelled(|text| Ok(text.bytes().map(u32::from).collect())).unwrap()
    }

    #[test]
    fn digits_make_a_trie_of_depth_three() {
        let trie = digits();
        assert_eq!((trie.depth(), trie.looked_back_at()), (3, 9));
        let one = trie.node(0).children[&u32::from(b'1')];
        assert_eq!(trie.node(one).price, Some(1));
        assert_eq!(trie.node(one).children.len(), 10);
        // No price is written 01.
        assert!(trie.node(trie.node(0).children[&u32::from(b'0')]).children.is_empty());
    }

    #[test]
    fn whole_numbers_make_one_of_depth_one_and_joined_signs_are_refused() {
        let whole = |text: &str| {
            let (head, number) = text.split_at(PREFIX.len());
            let mut ids: Vec<u32> = head.bytes().map(u32::from).collect();
            ids.extend(number.parse::<u32>().ok().map(|n| 1000 + n));
            Ok(ids)
        };
        let trie = PriceTrie::spelled(whole).unwrap();
        assert_eq!((trie.depth(), trie.looked_back_at()), (1, 0));
        let joined = |text: &str| Ok(vec![text.len() as u32]);
        assert!(PriceTrie::spelled(joined).is_err());
    }
}
