//! Relays TCP over WebSocket and spliced upgrades.
