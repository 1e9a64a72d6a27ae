//! Vectorize with exact search on embedded SQLite.
