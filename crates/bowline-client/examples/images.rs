//! Makes a small picture of a large one and says what both are.
//!
//! `cargo run -p bowline-client --example images -- URL BINDING < photo.jpg > small.webp`; a service token is taken from
//! `CLOUDFLARE_ACCESS_CLIENT_ID` and `CLOUDFLARE_ACCESS_CLIENT_SECRET`.
#![expect(clippy::print_stderr, reason = "an example is a program")]

use std::io::{Read, Write};

use bowline_client::images::{Fit, Format, Input, Output, Transform};

#[path = "shared/connect.rs"]
mod connect;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let (client, binding) = connect::from_command_line()?;
    let images = client.images(binding);
    let mut photo = Vec::new();
    std::io::stdin().read_to_end(&mut photo)?;
    eprintln!("{:?}", images.info(photo.clone()).await?);
    let small = Transform {
        width: Some(320),
        height: Some(240),
        fit: Some(Fit::Cover),
        ..Transform::default()
    };
    let made = images
        .output(Input::new(photo).transform(small), Output::new(Format::Webp))
        .await?;
    eprintln!("{:?}", images.info(made.bytes.clone()).await?);
    std::io::stdout().write_all(&made.bytes)?;
    Ok(())
}
