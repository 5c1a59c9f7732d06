//! Keys and values of the tokens so far.

use crate::Result;
use crate::format::ModelConfig;
use crate::gpu::{Gpu, Tensor};

/// Keys and values per layer, `(B·S, G·E)` each.
pub struct KvCache {
    pub(super) layers: Vec<(Tensor, Tensor)>,
    /// Sequences.
    pub batch: usize,
    /// Tokens that fit, per sequence.
    pub capacity: usize,
    /// Tokens held, per sequence.
    pub length: usize,
}

impl KvCache {
    /// An empty cache. **Errors** [`OutOfMemory`](crate::Error::OutOfMemory).
    pub fn new(gpu: &Gpu, config: &ModelConfig, batch: usize, capacity: usize) -> Result<KvCache> {
        let dims = [batch * capacity, config.num_key_value_heads * config.head_dim];
        let pair =
            |_| Ok((gpu.zeros("kv cache keys", &dims)?, gpu.zeros("kv cache values", &dims)?));
        let layers = (0..config.num_hidden_layers).map(pair).collect::<Result<_>>()?;
        Ok(KvCache { layers, batch, capacity, length: 0 })
    }

    /// Forgets all tokens from `length` on.
    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }
}
