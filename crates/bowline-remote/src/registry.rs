//! The one list of binding kinds.

use bowline_binding::Registry;

/// Every kind this build knows. A new binding is a folder under `bindings/` and a line here.
pub static REGISTRY: Registry = Registry(&[
    &bowline_ai::DESCRIPTOR,
    &bowline_d1::DESCRIPTOR,
    &bowline_vectorize::DESCRIPTOR,
    &bowline_send_email::DESCRIPTOR,
    &bowline_vpc_network::DESCRIPTOR,
    &bowline_service::DESCRIPTOR,
    &bowline_dispatch::DESCRIPTOR,
    &bowline_artifacts::DESCRIPTOR,
    &bowline_images::DESCRIPTOR,
]);
