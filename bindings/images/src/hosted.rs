//! Images that are kept here, and delivered.
//!
//! ```text
//! <state>/images/catalog.sqlite    what is known of images, and the key of signed URLs
//!               /files/<name>      bytes of images, named at random: ids never become paths
//!               /reserve           room for deletions when the disk is full
//! ```
//!
//! An image exists when its row does: its file is written and synced before the row, and removed after it.

pub(crate) mod catalog;
mod endpoint;
mod filter;
mod request;
mod rpc;
mod signature;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use bowline_binding::ConfigError;
use bowline_catalog::Reserve;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rand::TryRng;
use rand::rngs::SysRng;
use sha2::{Digest, Sha256};

use self::catalog::{Catalog, CatalogError, Change, Image, Link, LinkState, Place, Room};
use self::filter::Filter;
use self::request::{New, Signed};
use self::signature::SigningKey;
use crate::config::Config;
use crate::kind::{self, Kind};

pub(crate) use self::endpoint::DeliveryEndpoint;
pub(crate) use self::rpc::Main;

/// Where the endpoint is.
const PREFIX: &str = "/images/";
/// Below it, `ID/VARIANT`.
const DELIVERY: &str = "/images/delivery/";
/// Below it, the secret of a link.
const UPLOAD: &str = "/images/upload/";
/// Files without a row are deleted when they are older: younger ones may be on their way to one.
const ABANDONED: Duration = Duration::from_secs(3600);
/// Rows that are looked through at a time.
const SCANNED: i64 = 500;
/// What stays as it is in a segment of a path.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/');

/// Why something was not done. The text goes to the Worker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(String);

impl Refused {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    fn not_found(id: &str) -> Self {
        Self(format!("Image not found: {id}"))
    }

    /// A failure of ours: told to the log in full, to the caller in one sentence.
    fn internal(what: &str, error: impl std::fmt::Display) -> Self {
        tracing::error!(error.kind = "internal", binding.kind = "images", error = %error, "{what}");
        Self(format!("{what}; the log of the remote says more"))
    }
}

impl From<CatalogError> for Refused {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Taken(_) | CatalogError::TooMany(_) | CatalogError::TooLarge(_) => {
                Self(error.to_string())
            }
            CatalogError::Database(error) if bowline_catalog::is_full(&error) => {
                Self::internal("the disk of hosted images is full; nothing was changed", error)
            }
            CatalogError::Database(error) => {
                Self::internal("the catalog of hosted images could not be used", error)
            }
            CatalogError::Random(error) => Self::internal("no random bytes could be had", error),
        }
    }
}

/// The store of hosted images.
pub(crate) struct Hosted {
    config: Arc<Config>,
    catalog: Catalog,
    reserve: Reserve,
    files: PathBuf,
    key: SigningKey,
    /// Where the endpoint is served; `None` while it is not.
    origin: RwLock<Option<String>>,
    clock: fn() -> i64,
}

/// Some images, and where the next ones begin.
#[derive(Debug)]
struct Page {
    images: Vec<Image>,
    next: Option<Place>,
}

/// What is sought in [`Hosted::page`].
#[derive(Debug)]
struct Sought {
    after: Option<Place>,
    limit: usize,
    descending: bool,
    creator: Option<String>,
    filter: Filter,
}

/// A file that is deleted unless it becomes an image's.
struct Pending<'a> {
    hosted: &'a Hosted,
    name: Option<String>,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            self.hosted.remove_file(name);
        }
    }
}

impl Hosted {
    pub(crate) fn open(config: Arc<Config>, state: &Path) -> Result<Self, ConfigError> {
        let folder = state.join("images");
        let files = folder.join("files");
        let unusable = |source: bowline_binding::BoxError| ConfigError {
            source: Some(source),
            ..ConfigError::new("images", format!("cannot use the folder {}", folder.display()))
        };
        std::fs::create_dir_all(&files).map_err(|error| unusable(error.into()))?;
        let catalog =
            Catalog::open(&folder.join("catalog.sqlite")).map_err(|error| unusable(error.into()))?;
        let key = catalog.signing_key().map_err(|error| unusable(error.into()))?;
        sweep(&files, &catalog).map_err(unusable)?;
        Ok(Self {
            origin: RwLock::new(config.origin.clone()),
            config,
            catalog,
            reserve: Reserve::open(&folder),
            files,
            key: SigningKey::new(key),
            clock: || jiff::Timestamp::now().as_millisecond(),
        })
    }

    /// Learns where the endpoint is served, unless the configuration says where browsers find it.
    pub(crate) fn mounted(&self, origin: &str) {
        if self.config.origin.is_none()
            && let Ok(mut known) = self.origin.write()
        {
            *known = Some(origin.trim_end_matches('/').to_owned());
        }
    }

    fn origin(&self) -> Option<String> {
        self.origin.read().ok().and_then(|origin| origin.clone())
    }

    fn origin_or_refused(&self) -> Result<String, Refused> {
        self.origin().ok_or_else(|| {
            Refused::new("images have no URLs: nothing serves them here; run the remote with `bowline serve`")
        })
    }

    /// Runs something that blocks.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, Refused> {
        let own = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&own))
            .await
            .unwrap_or_else(|error| Err(Refused::internal("an internal error occurred", error)))
    }

    /// Keeps an image. Blocks.
    fn upload(&self, new: New, bytes: &[u8]) -> Result<Image, Refused> {
        self.check(bytes)?;
        let mut pending = self.write(bytes)?;
        let now = (self.clock)();
        let image = Image {
            file: pending.name.clone(),
            size: size(bytes),
            ..made(new, now)
        };
        self.catalog.add(&image, None, self.room(), now)?;
        pending.name = None;
        Ok(image)
    }

    /// Makes a draft; its id, and the path of the link by which somebody may upload it, once. Blocks.
    fn draft(&self, new: New, lives: Duration) -> Result<(String, String), Refused> {
        let secret = random_name()?;
        let now = (self.clock)();
        let link = Link {
            hash: hash(&secret),
            expires_at: now + i64::try_from(lives.as_millis()).unwrap_or(i64::MAX / 2),
        };
        let image = made(new, now);
        self.catalog.add(&image, Some(link), self.room(), now)?;
        Ok((image.id, format!("{UPLOAD}{secret}")))
    }

    /// What became of a link. Blocks.
    fn link(&self, secret: &str) -> Result<LinkState, Refused> {
        Ok(self.catalog.link(hash(secret), (self.clock)())?)
    }

    /// Keeps what came by a link; the image's id with [`LinkState::Open`]. Blocks.
    fn fill(
        &self,
        secret: &str,
        filename: Option<&str>,
        bytes: &[u8],
    ) -> Result<(LinkState, Option<String>), Refused> {
        self.check(bytes)?;
        let mut pending = self.write(bytes)?;
        let file = pending.name.as_deref().unwrap_or_default();
        let (state, id) = self.catalog.fill(
            hash(secret),
            file,
            size(bytes),
            filename,
            self.room(),
            (self.clock)(),
        )?;
        if id.is_some() {
            pending.name = None;
        }
        Ok((state, id))
    }

    /// An image and its bytes, unless it is a draft. Blocks.
    fn read(&self, id: &str) -> Result<Option<(Image, Vec<u8>)>, Refused> {
        let Some(image) = self.catalog.find(id)? else {
            return Ok(None);
        };
        let Some(file) = &image.file else {
            return Ok(None);
        };
        match std::fs::read(self.files.join(file)) {
            Ok(bytes) => Ok(Some((image, bytes))),
            // Deleted since the row was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.catalog.find(id)?.is_none() => {
                Ok(None)
            }
            Err(error) => Err(Refused::internal("an image could not be read", error)),
        }
    }

    /// Blocks.
    fn details(&self, id: &str) -> Result<Option<Image>, Refused> {
        Ok(self.catalog.find(id)?)
    }

    /// Blocks.
    fn update(&self, id: &str, change: &Change) -> Result<Image, Refused> {
        self.catalog
            .update(id, change)?
            .ok_or_else(|| Refused::not_found(id))
    }

    /// Whether there was one. Blocks.
    fn delete(&self, id: &str) -> Result<bool, Refused> {
        let Some(image) = self.reserve.run(|| self.catalog.remove(id))? else {
            return Ok(false);
        };
        if let Some(file) = image.file {
            self.remove_file(&file);
        }
        self.reserve.fill();
        Ok(true)
    }

    /// Blocks.
    fn page(&self, sought: Sought) -> Result<Page, Refused> {
        let Sought {
            mut after,
            limit,
            descending,
            creator,
            filter,
        } = sought;
        let mut images: Vec<Image> = Vec::new();
        loop {
            let rows = self
                .catalog
                .page(after.as_ref(), descending, creator.as_deref(), SCANNED)?;
            let ended = (rows.len() as i64) < SCANNED;
            after = rows.last().map(place);
            for image in rows.into_iter().filter(|image| filter.matches(&image.meta)) {
                if images.len() == limit {
                    let next = images.last().map(place);
                    return Ok(Page { images, next });
                }
                images.push(image);
            }
            if ended {
                return Ok(Page { images, next: None });
            }
        }
    }

    /// A URL by which a variant may be read.
    fn signed_url(&self, id: &str, signed: &Signed) -> Result<String, Refused> {
        if let Some(name) = &signed.key_name
            && name != signature::KEY_NAME
        {
            return Err(Refused::new(format!(
                "there is one signing key here, \"{}\"; ask for it, or leave keyName out",
                signature::KEY_NAME
            )));
        }
        if self.config.variant(&signed.variant).is_none() {
            let known: Vec<&str> = self
                .config
                .variants
                .iter()
                .map(|(name, _)| name.as_str())
                .collect();
            return Err(Refused::new(format!(
                "there is no such variant; there are {}. Add it to `variants` of the binding's configuration",
                known.join(", ")
            )));
        }
        let origin = self.origin_or_refused()?;
        let path = delivery_path(id, &signed.variant);
        let expires_at = signed.expires_in.map(|seconds| self.seconds() + seconds);
        Ok(format!("{origin}{path}?{}", self.key.sign(&path, expires_at)))
    }

    fn seconds(&self) -> i64 {
        (self.clock)().div_euclid(1000)
    }

    /// URLs of an image's variants, `public` first.
    fn variants(&self, id: &str) -> Vec<String> {
        let Some(origin) = self.origin() else {
            return Vec::new();
        };
        let names = self.config.variants.iter();
        names
            .map(|(name, _)| format!("{origin}{}", delivery_path(id, name)))
            .collect()
    }

    fn room(&self) -> Room {
        Room {
            images: self.config.limits.hosted_images,
            bytes: self.config.limits.stored_bytes,
        }
    }

    /// Refuses what could never be delivered.
    fn check(&self, bytes: &[u8]) -> Result<(), Refused> {
        let most = self.config.limits.hosted_bytes;
        if bytes.len() > most {
            return Err(too_large(most));
        }
        let not_an_image =
            || Refused::new("the upload is not an image that is read here: JPEG, PNG, GIF, WebP or SVG");
        match Kind::of(bytes).map_err(|_| not_an_image())? {
            Kind::Svg => Ok(()),
            Kind::Jpeg | Kind::Png | Kind::Gif | Kind::WebP => {
                let head = kind::head(bytes, &self.config.limits).map_err(|_| not_an_image())?;
                let side = head.width.max(head.height);
                if side > self.config.limits.side || head.area() > self.config.limits.area {
                    return Err(Refused::new(format!(
                        "the image has too many pixels: its sides may have {}, all its frames together {}",
                        self.config.limits.side, self.config.limits.area
                    )));
                }
                Ok(())
            }
            Kind::Avif | Kind::Heic | Kind::Tiff => Err(not_an_image()),
        }
    }

    /// Writes a new file to its end.
    fn write(&self, bytes: &[u8]) -> Result<Pending<'_>, Refused> {
        let name = random_name()?;
        let pending = Pending {
            hosted: self,
            name: Some(name.clone()),
        };
        let written = || {
            let mut file = File::create_new(self.files.join(&name))?;
            file.write_all(bytes)?;
            file.sync_all()?;
            // The name is on disk only when its folder is.
            File::open(&self.files)?.sync_all()
        };
        match written() {
            Ok(()) => Ok(pending),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Err(Refused::internal(
                "the disk of hosted images is full; nothing was changed",
                error,
            )),
            Err(error) => Err(Refused::internal("the image could not be written", error)),
        }
    }

    /// What stays behind is swept when the store is opened the next time.
    fn remove_file(&self, name: &str) {
        if let Err(error) = std::fs::remove_file(self.files.join(name))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(binding.kind = "images", file = name, error = %error, "an image's file could not be deleted");
        }
    }
}

fn too_large(most: usize) -> Refused {
    Refused::new(format!("the image is larger than {most} bytes"))
}

fn size(bytes: &[u8]) -> i64 {
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}

fn made(new: New, now: i64) -> Image {
    Image {
        id: new.id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
        file: None,
        size: 0,
        filename: new.filename,
        uploaded: now,
        signed_only: new.signed_only,
        meta: new.meta,
        creator: new.creator,
    }
}

fn place(image: &Image) -> Place {
    Place {
        uploaded: image.uploaded,
        id: image.id.clone(),
    }
}

fn delivery_path(id: &str, variant: &str) -> String {
    format!("{DELIVERY}{}/{variant}", utf8_percent_encode(id, PLAIN))
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// 32 hexadecimal digits that nobody guesses.
fn random_name() -> Result<String, Refused> {
    let mut bytes = [0; 16];
    SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| Refused::internal("no random bytes could be had", error))?;
    Ok(hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Deletes files that a process left behind when it ended in the middle.
fn sweep(files: &Path, catalog: &Catalog) -> Result<(), bowline_binding::BoxError> {
    for entry in std::fs::read_dir(files)? {
        let entry = entry?;
        let age = SystemTime::now().duration_since(entry.metadata()?.modified()?);
        let name = entry.file_name();
        let abandoned = age.is_ok_and(|age| age > ABANDONED);
        if abandoned && !name.to_str().map_or(Ok(false), |name| catalog.has_file(name))? {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
