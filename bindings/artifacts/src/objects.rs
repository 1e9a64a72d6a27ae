//! Reads of a repository's objects, without a git process. Everything here blocks.

use std::path::Path;

use gix_hash::{Kind as HashKind, ObjectId};
use gix_object::{CommitRef, Find, Kind, TagRef, TreeRef};

use crate::error::{Code, Refusal};

/// The largest object that is read.
const LARGEST: u64 = 32 * 1024 * 1024;
/// Tags of tags, and symbolic refs of symbolic refs, are followed this far.
const DEEPEST: usize = 16;

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// Octal, as git stores it: `40000`, `100644`.
    pub(crate) mode: String,
    pub(crate) hash: String,
    /// `blob`, `exec`, `tree`, `symlink` or `gitlink`.
    pub(crate) kind: &'static str,
}

/// Who made a commit, and when (seconds since 1970).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) at: i64,
}

/// One commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) hash: String,
    pub(crate) tree: String,
    pub(crate) message: String,
    pub(crate) author: Person,
    pub(crate) committer: Person,
    pub(crate) parents: Vec<String>,
}

/// The objects and refs of one repository.
pub(crate) struct Objects {
    odb: gix_odb::Handle,
    refs: gix_ref::file::Store,
}

impl Objects {
    pub(crate) fn open(folder: &Path) -> Result<Self, Refusal> {
        let options = gix_odb::store::init::Options {
            alloc_limit_bytes: Some(LARGEST as usize * 2),
            current_dir: Some(folder.to_owned()),
            ..gix_odb::store::init::Options::default()
        };
        let odb = gix_odb::at_opts(folder.join("objects"), HashKind::Sha1, None, options)
            .map_err(|error| Refusal::internal("the repository could not be opened", error))?;
        let refs = gix_ref::file::Store::at(folder.to_owned(), HashKind::Sha1);
        Ok(Self { odb, refs })
    }

    /// The bytes of a blob; `None` where there is no object or another kind of object.
    pub(crate) fn blob(&self, id: ObjectId) -> Result<Option<Vec<u8>>, Refusal> {
        let Some((Kind::Blob, bytes)) = self.find(id)? else {
            return Ok(None);
        };
        Ok(Some(bytes))
    }

    /// The entries of a tree; `None` where there is no object.
    pub(crate) fn tree(&self, id: ObjectId) -> Result<Option<Vec<Entry>>, Refusal> {
        let Some(bytes) = self.of_kind(id, Kind::Tree)? else {
            return Ok(None);
        };
        let tree = TreeRef::from_bytes(&bytes, HashKind::Sha1).map_err(|error| broken(id, error))?;
        Ok(Some(tree.entries.iter().map(entry).collect()))
    }

    /// A commit; `None` where there is no object.
    pub(crate) fn commit(&self, id: ObjectId) -> Result<Option<Commit>, Refusal> {
        let Some(bytes) = self.of_kind(id, Kind::Commit)? else {
            return Ok(None);
        };
        let parsed = CommitRef::from_bytes(&bytes, HashKind::Sha1).map_err(|error| broken(id, error))?;
        let author = parsed.author().map_err(|error| broken(id, error))?;
        let committer = parsed.committer().map_err(|error| broken(id, error))?;
        let message = parsed.message.to_string();
        Ok(Some(Commit {
            hash: id.to_string(),
            tree: parsed.tree().to_string(),
            message: message.strip_suffix('\n').unwrap_or(&message).to_owned(),
            author: person(author),
            committer: person(committer),
            parents: parsed.parents().map(|parent| parent.to_string()).collect(),
        }))
    }

    /// The bytes of the file at a path below a ref; `None` where there is none. Links are not followed.
    pub(crate) fn file(&self, reference: &str, path: &[&str]) -> Result<Option<Vec<u8>>, Refusal> {
        let Some(commit) = self.resolve(reference)? else {
            return Ok(None);
        };
        let Some(commit) = self.commit(commit)? else {
            return Ok(None);
        };
        let (Some((file, folders)), Ok(mut at)) = (path.split_last(), commit.tree.parse::<ObjectId>()) else {
            return Ok(None);
        };
        for folder in folders {
            match self.child(at, folder)? {
                Some((mode, id)) if mode.is_tree() => at = id,
                _ => return Ok(None),
            }
        }
        match self.child(at, file)? {
            Some((mode, id)) if mode.is_blob_or_symlink() => self.blob(id),
            _ => Ok(None),
        }
    }

    /// Commits of a ref along first parents. Empty when there is no such ref.
    pub(crate) fn log(&self, reference: &str, limit: usize, offset: usize) -> Result<Vec<Commit>, Refusal> {
        let mut next = self.resolve(reference)?;
        let (mut commits, mut skipped) = (Vec::new(), 0);
        // History ends at a root, or where a shallow import ends.
        while let Some(id) = next
            && commits.len() < limit
            && let Some(commit) = self.commit(id)?
        {
            next = commit.parents.first().and_then(|parent| parent.parse().ok());
            if skipped < offset {
                skipped += 1;
            } else {
                commits.push(commit);
            }
        }
        Ok(commits)
    }

    /// The branch that `HEAD` names, whether it is born or not.
    pub(crate) fn head_branch(&self) -> Result<Option<String>, Refusal> {
        let head = self
            .refs
            .try_find("HEAD")
            .map_err(|error| Refusal::internal("a ref could not be read", error))?;
        Ok(head
            .and_then(|head| head.target.try_name().map(|name| name.as_bstr().to_string()))
            .and_then(|name| name.strip_prefix("refs/heads/").map(str::to_owned)))
    }

    fn child(
        &self,
        tree: ObjectId,
        name: &str,
    ) -> Result<Option<(gix_object::tree::EntryMode, ObjectId)>, Refusal> {
        let Some(bytes) = self.of_kind(tree, Kind::Tree)? else {
            return Ok(None);
        };
        let parsed = TreeRef::from_bytes(&bytes, HashKind::Sha1).map_err(|error| broken(tree, error))?;
        Ok(parsed
            .entries
            .iter()
            .find(|entry| entry.filename == name.as_bytes())
            .map(|entry| (entry.mode, entry.oid.to_owned())))
    }

    /// The commit that a text names: `HEAD`, a hash, a branch or tag by its name, or either by its whole name.
    fn resolve(&self, reference: &str) -> Result<Option<ObjectId>, Refusal> {
        if let Some(id) = parse_hash(reference) {
            return self.peel(id);
        }
        let candidates = if reference == "HEAD"
            || reference.starts_with("refs/heads/")
            || reference.starts_with("refs/tags/")
        {
            vec![reference.to_owned()]
        } else if reference.starts_with("refs/") {
            Vec::new()
        } else {
            vec![
                format!("refs/heads/{reference}"),
                format!("refs/tags/{reference}"),
            ]
        };
        for candidate in candidates {
            // A text that is no ref's name names no ref.
            let Ok(name) = gix_ref::FullName::try_from(candidate.as_str()) else {
                continue;
            };
            if let Some(id) = self.target(name)? {
                return self.peel(id);
            }
        }
        Ok(None)
    }

    fn target(&self, mut name: gix_ref::FullName) -> Result<Option<ObjectId>, Refusal> {
        for _ in 0..DEEPEST {
            let found = self
                .refs
                .try_find(name.as_ref())
                .map_err(|error| Refusal::internal("a ref could not be read", error))?;
            match found.map(|found| found.target) {
                None => return Ok(None),
                Some(gix_ref::Target::Object(id)) => return Ok(Some(id)),
                Some(gix_ref::Target::Symbolic(next)) => name = next,
            }
        }
        Ok(None)
    }

    /// Follows tags to a commit.
    fn peel(&self, mut id: ObjectId) -> Result<Option<ObjectId>, Refusal> {
        for _ in 0..DEEPEST {
            match self.find(id)? {
                Some((Kind::Commit, _)) => return Ok(Some(id)),
                Some((Kind::Tag, bytes)) => {
                    let tag =
                        TagRef::from_bytes(&bytes, HashKind::Sha1).map_err(|error| broken(id, error))?;
                    id = tag.target();
                }
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    fn of_kind(&self, id: ObjectId, wanted: Kind) -> Result<Option<Vec<u8>>, Refusal> {
        match self.find(id)? {
            None => Ok(None),
            Some((kind, bytes)) if kind == wanted => Ok(Some(bytes)),
            Some((kind, _)) => Err(Refusal::input(format!("object {id} is a {kind}, not a {wanted}"))),
        }
    }

    fn find(&self, id: ObjectId) -> Result<Option<(Kind, Vec<u8>)>, Refusal> {
        let unreadable = |error| Refusal::internal("an object could not be read", error);
        let Some(header) = gix_odb::Header::try_header(&self.odb, &id).map_err(unreadable)? else {
            return Ok(None);
        };
        if header.size() > LARGEST {
            return Err(Refusal::new(
                Code::MemoryLimit,
                "The object is too large to read through the binding.",
            ));
        }
        let mut bytes = Vec::new();
        let found = self.odb.try_find(&id, &mut bytes).map_err(unreadable)?;
        let Some((kind, length)) = found.map(|found| (found.kind, found.data.len())) else {
            return Ok(None);
        };
        bytes.truncate(length);
        Ok(Some((kind, bytes)))
    }
}

/// 40 hex digits in lower case.
pub(crate) fn parse_hash(text: &str) -> Option<ObjectId> {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (text.len() == 40 && text.bytes().all(hex))
        .then(|| text.parse().ok())
        .flatten()
}

fn entry(entry: &gix_object::tree::EntryRef<'_>) -> Entry {
    let mode = entry.mode.value();
    Entry {
        name: entry.filename.to_string(),
        mode: format!("{mode:o}"),
        hash: entry.oid.to_string(),
        kind: match mode {
            0o40000 => "tree",
            0o120000 => "symlink",
            0o160000 => "gitlink",
            0o100755 => "exec",
            _ => "blob",
        },
    }
}

fn person(signature: gix_actor::SignatureRef<'_>) -> Person {
    Person {
        name: signature.name.to_string(),
        email: signature.email.to_string(),
        at: signature.seconds(),
    }
}

fn broken(id: ObjectId, error: impl std::fmt::Display) -> Refusal {
    Refusal::internal("an object is broken", format!("{id}: {error}"))
}
