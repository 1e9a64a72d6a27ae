//! The wire between proxy and remote: MF-* headers and the three flows.
