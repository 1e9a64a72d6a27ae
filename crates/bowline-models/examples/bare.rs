//! The two models as one writes them down with candle and nothing else, to measure ours against.
//!
//! `cargo run --release -p bowline-models --features candle --example bare -- MINILM SMOLLM2`, each the folder of a model.
//! Every line of input is a call: `embed` and a JSON list of texts, or `generate` and a JSON text that is the whole prompt.
//! The answer is a line of JSON: the seconds, and what came out. `cargo xtask bench ai` asks.
#![expect(clippy::print_stdout, reason = "an example is a program")]

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

use candle_core::quantized::gguf_file::Content;
use candle_core::quantized::tokenizer::TokenizerFromGguf;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::BertModel;
use candle_transformers::models::quantized_llama::ModelWeights;
use serde_json::{Value, json};
use tokenizers::{PaddingParams, Tokenizer};

/// Tokens of every text that is generated.
const TOKENS: usize = 48;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

struct Texts {
    model: BertModel,
    tokenizer: Tokenizer,
}

impl Texts {
    fn load(folder: &Path) -> Outcome<Self> {
        let read = |name: &str| std::fs::read(folder.join(name));
        let config = serde_json::from_slice(&read("config.json")?)?;
        let mut tokenizer = Tokenizer::from_bytes(read("tokenizer.json")?)?;
        tokenizer.with_padding(Some(PaddingParams::default()));
        let weights = read("model.safetensors")?;
        let weights = VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu)?;
        Ok(Self {
            model: BertModel::load(weights, &config)?,
            tokenizer,
        })
    }

    fn embed(&self, texts: Vec<String>) -> Outcome<Vec<Vec<f32>>> {
        let encoded = self.tokenizer.encode_batch(texts, true)?;
        let tensor = |of: fn(&tokenizers::Encoding) -> &[u32]| {
            let rows: Vec<Vec<u32>> = encoded.iter().map(|one| of(one).to_vec()).collect();
            Tensor::new(rows, &Device::Cpu)
        };
        let (ids, mask) = (
            tensor(tokenizers::Encoding::get_ids)?,
            tensor(tokenizers::Encoding::get_attention_mask)?,
        );
        let states = self.model.forward(&ids, &ids.zeros_like()?, Some(&mask))?;
        let mask = mask.to_dtype(DType::F32)?.unsqueeze(2)?;
        let means = states
            .broadcast_mul(&mask)?
            .sum(1)?
            .broadcast_div(&mask.sum(1)?)?;
        let norms = means.sqr()?.sum_keepdim(1)?.sqrt()?;
        Ok(means.broadcast_div(&norms)?.to_vec2()?)
    }
}

struct Words {
    model: ModelWeights,
    tokenizer: Tokenizer,
}

impl Words {
    fn load(folder: &Path) -> Outcome<Self> {
        let mut file = std::io::BufReader::new(File::open(folder.join("model.gguf"))?);
        let content = Content::read(&mut file)?;
        let tokenizer = Tokenizer::from_gguf(&content)?;
        Ok(Self {
            model: ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?,
            tokenizer,
        })
    }

    /// The likeliest token after the other.
    fn generate(&mut self, prompt: &str) -> Outcome<String> {
        self.model.clear_kv_cache();
        let mut next = self.tokenizer.encode(prompt, false)?.get_ids().to_vec();
        let (mut said, mut position) = (Vec::new(), 0);
        while said.len() < TOKENS {
            let input = Tensor::new(next.as_slice(), &Device::Cpu)?.unsqueeze(0)?;
            let logits = self.model.forward(&input, position)?.squeeze(0)?;
            position += next.len();
            let token = logits.argmax(0)?.to_scalar()?;
            said.push(token);
            next = vec![token];
        }
        Ok(self.tokenizer.decode(&said, true)?)
    }
}

fn main() -> Outcome<()> {
    let mut folders = std::env::args().skip(1);
    let mut folder = || folders.next().ok_or("two folders are needed: MINILM SMOLLM2");
    let texts = Texts::load(folder()?.as_ref())?;
    let mut words = Words::load(folder()?.as_ref())?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (call, argument) = line.split_once(' ').ok_or("a call and its argument")?;
        let start = Instant::now();
        let out: Value = match call {
            "embed" => json!(texts.embed(serde_json::from_str(argument)?)?),
            "generate" => json!(words.generate(&serde_json::from_str::<String>(argument)?)?),
            _ => return Err(format!("there is no call {call}").into()),
        };
        let seconds = start.elapsed().as_secs_f64();
        println!("{}", json!({"seconds": seconds, "out": out, "tokens": TOKENS}));
        std::io::stdout().flush()?;
    }
    Ok(())
}
