//! Sentences to vectors.

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use tokenizers::{PaddingParams, Tokenizer, TruncationParams};

use crate::catalog::MINILM;
use crate::{ModelError, ModelStore};

/// What the model was trained with; longer sentences are cut.
const MOST_TOKENS: usize = 256;
/// Sentences computed together: more would need memory and win nothing on a CPU.
const BATCH: usize = 16;

/// all-MiniLM-L6-v2, loaded. May be used from several threads.
pub struct Embedder {
    model: BertModel,
    tokenizer: Tokenizer,
    device: Device,
}

impl std::fmt::Debug for Embedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Embedder")
    }
}

fn load_error(problem: impl std::fmt::Display) -> ModelError {
    ModelError::Load {
        name: MINILM.name,
        problem: problem.to_string(),
    }
}

fn run_error(problem: impl std::fmt::Display) -> ModelError {
    ModelError::Run(problem.to_string())
}

impl Embedder {
    /// Numbers of a vector.
    pub const DIMENSIONS: usize = 384;

    /// Loads the model (90 MB of memory).
    pub fn load(store: &ModelStore) -> Result<Self, ModelError> {
        if !store.has(&MINILM) {
            return Err(ModelError::Missing(MINILM.name));
        }
        let read = |name: &str| std::fs::read(store.path(&MINILM).join(name)).map_err(load_error);
        let config: Config = serde_json::from_slice(&read("config.json")?).map_err(load_error)?;
        let mut tokenizer = Tokenizer::from_bytes(read("tokenizer.json")?).map_err(load_error)?;
        let truncation = TruncationParams {
            max_length: MOST_TOKENS,
            ..TruncationParams::default()
        };
        tokenizer.with_truncation(Some(truncation)).map_err(load_error)?;
        // The file asks for padding to 128 tokens, which costs time and, unmasked, gives other vectors.
        tokenizer.with_padding(Some(PaddingParams::default()));
        let device = Device::Cpu;
        let weights = VarBuilder::from_buffered_safetensors(read("model.safetensors")?, DType::F32, &device);
        let model = BertModel::load(weights.map_err(load_error)?, &config).map_err(load_error)?;
        Ok(Self {
            model,
            tokenizer,
            device,
        })
    }

    /// One vector of length 1 for each text, in order. Blocks for some milliseconds a text.
    pub fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, ModelError> {
        // Texts of like length go together, so that little is padded.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|index| texts[*index].len());
        let mut vectors = vec![Vec::new(); texts.len()];
        for indexes in order.chunks(BATCH) {
            let batch: Vec<&str> = indexes.iter().map(|index| texts[*index]).collect();
            let found = self.batch(batch).map_err(run_error)?;
            for (index, vector) in indexes.iter().zip(found) {
                vectors[*index] = vector;
            }
        }
        Ok(vectors)
    }

    fn batch(&self, texts: Vec<&str>) -> Result<Vec<Vec<f32>>, candle_core::Error> {
        let count = texts.len();
        let encoded = self
            .tokenizer
            .encode_batch(texts, true)
            .map_err(|error| candle_core::Error::Msg(error.to_string()))?;
        let length = encoded.first().map_or(0, |encoding| encoding.get_ids().len());
        let collect = |of: fn(&tokenizers::Encoding) -> &[u32]| -> Vec<u32> {
            encoded
                .iter()
                .flat_map(|encoding| of(encoding).iter().copied())
                .collect()
        };
        let tensor = |values: Vec<u32>| Tensor::from_vec(values, (count, length), &self.device);
        let ids = tensor(collect(tokenizers::Encoding::get_ids))?;
        let mask = tensor(collect(tokenizers::Encoding::get_attention_mask))?;
        let states = self.model.forward(&ids, &ids.zeros_like()?, Some(&mask))?;
        // The mean over the tokens that are no padding, of length 1.
        let mask = mask.to_dtype(DType::F32)?.unsqueeze(2)?;
        let sums = states.broadcast_mul(&mask)?.sum(1)?;
        let means = sums.broadcast_div(&mask.sum(1)?)?;
        let norms = means.sqr()?.sum_keepdim(1)?.sqrt()?;
        means.broadcast_div(&norms)?.to_vec2::<f32>()
    }
}
