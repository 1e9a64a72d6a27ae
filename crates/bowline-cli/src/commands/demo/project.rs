//! The example, carried inside the program.

use std::path::Path;

use bowline_config::Project;
use serde_json::{Value, json};

use super::hosts::Hosts;
use crate::error::{CliError, Kind};

const FILES: [(&str, &str); 14] = [
    (
        "wrangler.jsonc",
        include_str!("../../../../../examples/guestbook/wrangler.jsonc"),
    ),
    (
        "bowline.jsonc",
        include_str!("../../../../../examples/guestbook/bowline.jsonc"),
    ),
    (
        "src/index.js",
        include_str!("../../../../../examples/guestbook/src/index.js"),
    ),
    (
        "src/embedding.js",
        include_str!("../../../../../examples/guestbook/src/embedding.js"),
    ),
    (
        "src/page.html",
        include_str!("../../../../../examples/guestbook/src/page.html"),
    ),
    (
        "src/pictures.js",
        include_str!("../../../../../examples/guestbook/src/pictures.js"),
    ),
    (
        "src/private-network.js",
        include_str!("../../../../../examples/guestbook/src/private-network.js"),
    ),
    (
        "src/within.js",
        include_str!("../../../../../examples/guestbook/src/within.js"),
    ),
    (
        "src/cards.js",
        include_str!("../../../../../examples/guestbook/src/cards.js"),
    ),
    (
        "src/versions.js",
        include_str!("../../../../../examples/guestbook/src/versions.js"),
    ),
    (
        "press/wrangler.jsonc",
        include_str!("../../../../../examples/guestbook/press/wrangler.jsonc"),
    ),
    (
        "press/index.js",
        include_str!("../../../../../examples/guestbook/press/index.js"),
    ),
    (
        "frames/rope/wrangler.jsonc",
        include_str!("../../../../../examples/guestbook/frames/rope/wrangler.jsonc"),
    ),
    (
        "frames/rope/index.js",
        include_str!("../../../../../examples/guestbook/frames/rope/index.js"),
    ),
];

/// Writes an example's files to `folder` and reads the project they are.
pub(super) fn write(folder: &Path, files: &[(&str, &str)]) -> Result<Project, CliError> {
    let written = files.iter().try_for_each(|(name, text)| {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(folder))?;
        std::fs::write(path, text)
    });
    written.map_err(|error| CliError::new(Kind::Internal, error))?;
    crate::project::load(folder)
}

/// Writes the example to `folder` and points it at this run's hosts.
pub(super) fn unpack(folder: &Path, hosts: &Hosts) -> Result<Project, CliError> {
    let mut project = write(&folder.join("guestbook"), &FILES)?;
    for (name, value) in [
        ("ECHO_ADDR", hosts.echo.to_string()),
        ("HTTP_URL", format!("http://{}/", hosts.web)),
        ("WS_URL", format!("http://{}/", hosts.web)),
    ] {
        project.vars.insert(name.to_owned(), Value::String(value));
    }
    let network = project.bindings.iter_mut().find(|binding| binding.name == "VPC");
    if let Some(Value::Object(entry)) = network.map(|binding| &mut binding.entry) {
        entry.insert(
            "allow".to_owned(),
            json!([hosts.echo.to_string(), hosts.web.to_string()]),
        );
    }
    Ok(project)
}
