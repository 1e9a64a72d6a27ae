//! References to objects and functions.

use std::sync::Arc;

use capnweb_proto::{ImportId, PathKey, Subject};

use crate::core::{Core, Dropped, Local, Registration};
use crate::promise::Base;
use crate::target::{Function, read};
use crate::{Answer, Call, Error, Promise, Target, Value, map};

/// A reference to an object or function: of the peer's, or one of ours that the peer will get.
///
/// Clones are further references to the same thing. When the last reference to something of the peer's goes, it is released
/// there. Dropping the last clone of a client's *main* stub ends the session, and with it everything that is pending.
#[derive(Clone)]
pub struct Stub(Inner);

#[derive(Clone)]
enum Inner {
    Remote(Arc<Remote>),
    Local(Local),
}

struct Remote {
    core: Arc<Core>,
    import: ImportId,
    /// The client's main stub.
    owns_session: bool,
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.core.give_back(if self.owns_session {
            Dropped::Main
        } else {
            Dropped::Import(self.import)
        });
    }
}

impl std::fmt::Debug for Stub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Inner::Remote(_) => "Stub(the peer's)",
            Inner::Local(_) => "Stub(ours)",
        })
    }
}

impl Stub {
    /// A reference to an object of ours. It is dropped when all references are gone, the peer's among them.
    pub fn new(target: impl Target) -> Self {
        Self::local(Arc::new(target))
    }

    /// A reference to a function of ours.
    pub fn function<A: Into<Answer>>(function: impl Fn(Vec<Value>) -> A + Send + Sync + 'static) -> Self {
        Self::new(Function(move |args| function(args).into()))
    }

    pub(crate) fn local(target: Arc<dyn Target>) -> Self {
        Self(Inner::Local(Local::new(target)))
    }

    pub(crate) fn remote(core: Arc<Core>, import: ImportId) -> Self {
        Self(Inner::Remote(Arc::new(Remote {
            core,
            import,
            owns_session: false,
        })))
    }

    /// The peer's main object, as its client holds it.
    pub(crate) fn owner(core: Arc<Core>, import: ImportId) -> Self {
        Self(Inner::Remote(Arc::new(Remote {
            core,
            import,
            owns_session: true,
        })))
    }

    /// Calls a method.
    pub fn call(&self, method: &str, args: impl IntoIterator<Item = Value>) -> Promise {
        self.start(
            vec![PathKey::Name(method.into())],
            Some(args.into_iter().collect()),
        )
    }

    /// Calls the thing itself, as a function.
    pub fn invoke(&self, args: impl IntoIterator<Item = Value>) -> Promise {
        self.start(Vec::new(), Some(args.into_iter().collect()))
    }

    /// A property. Nothing is sent until it is used: awaited, called, passed on.
    #[must_use]
    pub fn get(&self, name: &str) -> Promise {
        Promise {
            base: Base::Stub(self.clone()),
            path: vec![PathKey::Name(name.into())],
        }
    }

    /// Calls back when the session that this reference belongs to breaks, at once if it is broken. A reference to
    /// something of ours never breaks.
    pub fn on_broken(&self, callback: impl FnOnce(&Error) + Send + 'static) -> Registration {
        match &self.0 {
            Inner::Remote(remote) => remote.core.on_broken(Box::new(callback)),
            Inner::Local(_) => Registration::default(),
        }
    }

    /// The session, of a reference to something of the peer's.
    pub fn session(&self) -> Option<crate::Session> {
        match &self.0 {
            Inner::Remote(remote) => Some(crate::Session::new(Arc::clone(&remote.core))),
            Inner::Local(_) => None,
        }
    }

    fn start(&self, path: Vec<PathKey>, args: Option<Vec<Value>>) -> Promise {
        if map::is_recording() {
            let read = Promise {
                base: Base::Stub(self.clone()),
                path: Vec::new(),
            };
            return map::record_operation(&read, path, args);
        }
        self.operate(path, args)
    }

    pub(crate) fn operate(&self, path: Vec<PathKey>, args: Option<Vec<Value>>) -> Promise {
        let target = match &self.0 {
            Inner::Remote(remote) => {
                return remote.core.operate(Subject::Stub(remote.import), &path, args);
            }
            Inner::Local(target) => target.clone().into_target(),
        };
        let mut path = path.into_iter();
        match (path.next(), path.next(), args) {
            (None, _, None) => Promise::settled(Ok(self.clone().into())),
            (None, _, Some(args)) => Promise::answer(target.call(Call::new("", args))),
            (Some(PathKey::Name(method)), None, Some(args)) if !capnweb_proto::is_prototype_name(&method) => {
                Promise::answer(target.call(Call::new(method, args)))
            }
            (Some(key), None, Some(_)) => Promise::settled(Err(Error::new(
                "TypeError",
                format!("'{key}' is not a function."),
            ))),
            (Some(PathKey::Name(name)), None, None) if !capnweb_proto::is_prototype_name(&name) => {
                Promise::answer(read(&target, &name))
            }
            (Some(_), None, None) => Promise::settled(Ok(Value::Undefined)),
            (Some(first), Some(second), args) => {
                let step = self.operate(vec![first], None);
                let rest = std::iter::once(second).chain(path).collect();
                step.operate(rest, args)
            }
        }
    }

    pub(crate) fn map_path(
        &self,
        path: &[PathKey],
        captures: Vec<Value>,
        instructions: Vec<String>,
    ) -> Promise {
        match &self.0 {
            Inner::Remote(remote) => {
                remote
                    .core
                    .map(Subject::Stub(remote.import), path, captures, &instructions)
            }
            Inner::Local(_) => {
                let read = self.operate(path.to_vec(), None);
                Promise::spawn(
                    async move { crate::driver::map_here(read.await?, captures, &instructions).await },
                )
            }
        }
    }

    /// The id, if this is the peer's in that session.
    pub(crate) fn import_of(&self, core: &Arc<Core>) -> Option<ImportId> {
        match &self.0 {
            Inner::Remote(remote) if Arc::ptr_eq(&remote.core, core) => Some(remote.import),
            _ => None,
        }
    }

    /// Something to export: our own target, or one that passes on to another session.
    pub(crate) fn into_target(self) -> Arc<dyn Target> {
        match self.0 {
            Inner::Local(target) => target.into_target(),
            Inner::Remote(_) => Arc::new(Elsewhere(self)),
        }
    }
}

/// A stub of another session, exported to this one.
struct Elsewhere(Stub);

impl Target for Elsewhere {
    fn call(&self, call: Call) -> Answer {
        let path = match call.method {
            method if method.is_empty() => Vec::new(),
            method => vec![PathKey::Name(method)],
        };
        let result = self.0.operate(path, Some(call.args));
        Answer::later(result.into_future())
    }

    fn get(&self, name: &str) -> Answer {
        Answer::later(self.0.get(name).into_future())
    }
}
