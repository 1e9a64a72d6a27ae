/**
 * Hands the connection string of `bowline connect` to tools that are built on miniflare.
 *
 * ```text
 *  miniflare, Vitest ── options of each binding ──┐
 *  Vite             ── its `config` hook ─────────┼──▶ bowline connect ──▶ a remote behind Access
 *  wrangler         ── a configuration beside ────┘
 * ```
 *
 * @module
 */
export { connect } from "./connect.js";
export { BowlineError } from "./error.js";
