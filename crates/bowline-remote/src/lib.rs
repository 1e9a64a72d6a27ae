//! The remote endpoint: gateway, router, registry.
