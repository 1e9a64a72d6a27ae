//! Where mail is kept.

use std::io::Write;
use std::path::{Path, PathBuf};

use bowline_binding::ConfigError;

/// A folder of `.eml` files. A file is there whole or not at all.
#[derive(Debug, Clone)]
pub(crate) struct Outbox(PathBuf);

impl Outbox {
    pub(crate) fn open(state: &Path, name: &str) -> Result<Self, ConfigError> {
        // A binding's name becomes a folder's; identifiers only, as wrangler asks of them anyway.
        if name.is_empty()
            || !name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$')
        {
            return Err(ConfigError::new("name", "must be a JavaScript identifier"));
        }
        let folder = state.join("send_email").join(name);
        std::fs::create_dir_all(&folder).map_err(|source| ConfigError {
            field: "name".into(),
            problem: format!("cannot make {}", folder.display()),
            source: Some(source.into()),
        })?;
        Ok(Self(folder))
    }

    /// Keeps one mail: on disk when this returns.
    pub(crate) async fn keep(&self, mail: Vec<u8>) -> std::io::Result<PathBuf> {
        let folder = self.0.clone();
        tokio::task::spawn_blocking(move || keep(&folder, &mail))
            .await
            .map_err(std::io::Error::other)?
    }
}

fn keep(folder: &Path, mail: &[u8]) -> std::io::Result<PathBuf> {
    let id = uuid::Uuid::new_v4();
    let (partial, whole) = (
        folder.join(format!(".{id}.partial")),
        folder.join(format!("{id}.eml")),
    );
    let written = std::fs::File::create_new(&partial).and_then(|mut file| {
        file.write_all(mail)?;
        file.sync_all()
    });
    if let Err(error) = written.and_then(|()| std::fs::rename(&partial, &whole)) {
        let _ = std::fs::remove_file(&partial);
        return Err(error);
    }
    // The rename itself is only as lasting as the folder's entry.
    std::fs::File::open(folder)?.sync_all()?;
    Ok(whole)
}
