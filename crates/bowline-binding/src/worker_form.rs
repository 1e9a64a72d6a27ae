//! How a kind of binding looks to a Worker that Bowline runs itself.

/// What stands behind `env.NAME`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerForm {
    /// A plain fetcher: requests leave workerd as they are.
    Fetcher,
    /// A module inside workerd that turns methods into requests of an inner fetcher.
    Wrapped {
        /// The module.
        module: &'static str,
        /// The inner binding that is the fetcher.
        fetcher: &'static str,
        /// The other inner bindings.
        inner: &'static [(&'static str, InnerBinding)],
    },
    /// A module as in [`Wrapped`](Self::Wrapped) whose fetcher also answers methods, by Cap'n Web.
    WrappedRpc {
        /// The module.
        module: &'static str,
        /// The inner binding that is the fetcher.
        fetcher: &'static str,
    },
    /// Methods become Cap'n Web calls; fetch works, too.
    Rpc,
    /// An object whose `get(name, args, options)` gives a Worker, to be fetched from and called; what `get` was given
    /// travels with each call.
    Dispatcher,
    /// Fetch, and `connect()` to an address. Needs workerd's experimental features, for only they let a Worker answer
    /// `connect()`.
    Network,
}

/// An inner binding of [`WorkerForm::Wrapped`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InnerBinding {
    /// A fixed text.
    Text(&'static str),
    /// A fixed JSON value.
    Json(&'static str),
    /// A text member of the binding's wrangler entry; empty when there is none.
    Entry(&'static str),
}
