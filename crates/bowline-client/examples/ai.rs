//! Lists the models, embeds two sentences and lets a model talk, as far as the remote has models for it.
//!
//! `cargo run -p bowline-client --example ai -- URL BINDING`; a service token is taken from
//! `CLOUDFLARE_ACCESS_CLIENT_ID` and `CLOUDFLARE_ACCESS_CLIENT_SECRET`.
#![expect(clippy::print_stdout, reason = "an example is a program")]

use std::io::Write;

use bowline_client::ai::Message;

#[path = "shared/connect.rs"]
mod connect;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let (client, binding) = connect::from_command_line()?;
    let ai = client.ai(binding);
    let models = ai.models("").await?;
    let named = |task: &str| {
        models
            .iter()
            .find(|model| model.task.name == task)
            .map(|model| model.name.as_str())
    };
    for model in &models {
        println!("{}: {}", model.name, model.task.name);
    }
    if let Some(model) = named("Text Embeddings") {
        let vectors = ai.embed(model, &["a cat", "a kitten"]).await?;
        let like: f32 = vectors[0].iter().zip(&vectors[1]).map(|(a, b)| a * b).sum();
        println!("a cat and a kitten: {like:.3}");
    }
    if let Some(model) = named("Text Generation") {
        let mut said = ai
            .chat_stream(model, &[Message::user("What is the capital of France?")])
            .await?;
        while let Some(piece) = said.next().await? {
            print!("{piece}");
            std::io::stdout().flush()?;
        }
        println!();
    }
    Ok(())
}
