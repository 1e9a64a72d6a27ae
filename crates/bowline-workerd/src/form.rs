//! How a kind of binding looks to the Worker.
//!
//! [`form_of`] is the one place that knows kinds by name. [`WorkerForm`] needs nothing of this crate, so it can become
//! a member of a kind's descriptor as it is.

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
    /// Methods become Cap'n Web calls; fetch works, too.
    Rpc,
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

/// The form of `kind`; `None` for a kind that is not known here.
///
/// Source of module names and inner bindings: workerd 1.20261117.1 and miniflare 5.20261117.0.
pub fn form_of(kind: &str) -> Option<WorkerForm> {
    Some(match kind {
        "d1" => WorkerForm::Wrapped {
            module: "cloudflare-internal:d1-api",
            fetcher: "fetcher",
            inner: &[],
        },
        "vectorize" => WorkerForm::Wrapped {
            module: "cloudflare-internal:vectorize-api",
            fetcher: "fetcher",
            inner: &[
                ("indexId", InnerBinding::Entry("index_name")),
                ("indexVersion", InnerBinding::Text("v2")),
                ("useNdJson", InnerBinding::Json("true")),
            ],
        },
        "send_email" => WorkerForm::Rpc,
        "vpc_network" => WorkerForm::Network,
        _ => return None,
    })
}
