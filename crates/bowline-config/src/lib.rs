//! Reads wrangler configurations.
