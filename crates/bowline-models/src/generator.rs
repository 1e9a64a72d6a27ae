//! Conversations to their next message.

use std::fs::File;
use std::io::BufReader;

use candle_core::quantized::gguf_file::Content;
use candle_core::quantized::tokenizer::TokenizerFromGguf;
use candle_core::{Device, Tensor};
use candle_transformers::generation::{LogitsProcessor, Sampling as Sampler};
use candle_transformers::models::quantized_llama::ModelWeights;
use candle_transformers::utils::apply_repeat_penalty;
use tokenizers::Tokenizer;

use crate::catalog::SMOLLM2;
use crate::{ModelError, ModelStore};

/// What the model was trained with.
const CONTEXT: usize = 2048;
/// What the model's chat template says when nobody set a tone.
const SYSTEM: &str = "You are a helpful AI assistant named SmolLM, trained by Hugging Face";
/// Tokens a repetition is punished for.
const REPETITION_WINDOW: usize = 64;

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub content: String,
}

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// 0 takes the likeliest token always.
    pub temperature: f64,
    /// Only tokens that together are this likely.
    pub top_p: Option<f64>,
    /// Only so many of the likeliest tokens.
    pub top_k: Option<usize>,
    /// Above 1, tokens that were just said become less likely.
    pub repetition_penalty: f32,
    /// The same seed gives the same text.
    pub seed: u64,
    /// Tokens to generate at most.
    pub max_tokens: usize,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.6,
            top_p: Some(0.9),
            top_k: None,
            repetition_penalty: 1.1,
            seed: 299_792_458,
            max_tokens: 256,
        }
    }
}

/// Tokens of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Of the conversation.
    pub prompt: usize,
    /// Of the answer.
    pub completion: usize,
}

/// What a call of [`Generator::generate`] starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Generation {
    /// A conversation, put into the model's template.
    Chat(Vec<Message>),
    /// A text to go on with, as it is.
    Raw(String),
}

/// SmolLM2-135M-Instruct, loaded. One generation at a time.
pub struct Generator {
    model: ModelWeights,
    /// Reads marks such as `<|im_end|>`.
    tokenizer: Tokenizer,
    /// Takes such marks for the text they are: nobody can forge a turn.
    literal: Tokenizer,
    end: Vec<u32>,
    device: Device,
}

impl std::fmt::Debug for Generator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Generator")
    }
}

fn load_error(problem: impl std::fmt::Display) -> ModelError {
    ModelError::Load {
        name: SMOLLM2.name,
        problem: problem.to_string(),
    }
}

fn run_error(problem: impl std::fmt::Display) -> ModelError {
    ModelError::Run(problem.to_string())
}

impl Generator {
    /// Loads the model (100 MB of memory).
    pub fn load(store: &ModelStore) -> Result<Self, ModelError> {
        if !store.has(&SMOLLM2) {
            return Err(ModelError::Missing(SMOLLM2.name));
        }
        let file = File::open(store.path(&SMOLLM2).join("model.gguf")).map_err(load_error)?;
        let mut reader = BufReader::new(file);
        let content = Content::read(&mut reader).map_err(load_error)?;
        let tokenizer = Tokenizer::from_gguf(&content).map_err(load_error)?;
        let mut literal = tokenizer.clone();
        literal.set_encode_special_tokens(true);
        let end = ["<|im_end|>", "<|endoftext|>"]
            .iter()
            .filter_map(|mark| tokenizer.token_to_id(mark))
            .collect();
        let device = Device::Cpu;
        let model = ModelWeights::from_gguf(content, &mut reader, &device).map_err(load_error)?;
        Ok(Self {
            model,
            tokenizer,
            literal,
            end,
            device,
        })
    }

    /// Generates until the model ends, the tokens run out, or `piece` says no. `piece` gets text as soon as it is there.
    /// Blocks.
    pub fn generate(
        &mut self,
        from: &Generation,
        sampling: Sampling,
        mut piece: impl FnMut(&str) -> bool,
    ) -> Result<Usage, ModelError> {
        let prompt = self.encode(from)?;
        if prompt.len() >= CONTEXT {
            return Err(ModelError::TooLong {
                tokens: prompt.len(),
                limit: CONTEXT - 1,
            });
        }
        let most = sampling.max_tokens.min(CONTEXT - prompt.len());
        self.model.clear_kv_cache();
        let mut choose = LogitsProcessor::from_sampling(sampling.seed, sampler(sampling));
        let mut usage = Usage {
            prompt: prompt.len(),
            completion: 0,
        };
        let tokenizer = self.tokenizer.clone();
        let mut decoder = tokenizer.decode_stream(true);
        let mut said: Vec<u32> = Vec::new();
        let mut next = prompt;
        while usage.completion < most {
            let position = if usage.completion == 0 {
                0
            } else {
                usage.prompt + usage.completion - 1
            };
            let token = self
                .step(&next, position, sampling, &said, &mut choose)
                .map_err(run_error)?;
            if self.end.contains(&token) {
                break;
            }
            usage.completion += 1;
            said.push(token);
            next = vec![token];
            let text = decoder.step(token).map_err(run_error)?;
            if text.is_some_and(|text| !piece(&text)) {
                break;
            }
        }
        self.model.clear_kv_cache();
        Ok(usage)
    }

    fn step(
        &mut self,
        tokens: &[u32],
        position: usize,
        sampling: Sampling,
        said: &[u32],
        choose: &mut LogitsProcessor,
    ) -> candle_core::Result<u32> {
        let input = Tensor::new(tokens, &self.device)?.unsqueeze(0)?;
        let mut logits = self.model.forward(&input, position)?.squeeze(0)?;
        if sampling.repetition_penalty > 1.0 {
            let window = &said[said.len().saturating_sub(REPETITION_WINDOW)..];
            logits = apply_repeat_penalty(&logits, sampling.repetition_penalty, window)?;
        }
        choose.sample(&logits)
    }

    fn encode(&self, from: &Generation) -> Result<Vec<u32>, ModelError> {
        let marks = |text: &str| ids(&self.tokenizer, text);
        let literal = |text: &str| ids(&self.literal, text);
        let messages = match from {
            Generation::Raw(text) => return literal(text),
            Generation::Chat(messages) => messages,
        };
        let mut all = Vec::new();
        if messages.first().is_none_or(|first| first.role != "system") {
            all.extend(marks(&format!("<|im_start|>system\n{SYSTEM}<|im_end|>\n"))?);
        }
        for message in messages {
            all.extend(marks(&format!("<|im_start|>{}\n", message.role))?);
            all.extend(literal(&message.content)?);
            all.extend(marks("<|im_end|>\n")?);
        }
        all.extend(marks("<|im_start|>assistant\n")?);
        Ok(all)
    }
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, ModelError> {
    tokenizer
        .encode(text, false)
        .map(|encoding| encoding.get_ids().to_vec())
        .map_err(run_error)
}

fn sampler(sampling: Sampling) -> Sampler {
    let temperature = sampling.temperature;
    match (sampling.top_k, sampling.top_p) {
        _ if temperature <= 0.0 => Sampler::ArgMax,
        (None, None) => Sampler::All { temperature },
        (Some(k), None) => Sampler::TopK { k, temperature },
        (None, Some(p)) => Sampler::TopP { p, temperature },
        (Some(k), Some(p)) => Sampler::TopKThenTopP { k, p, temperature },
    }
}
