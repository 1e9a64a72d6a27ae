//! D1 on embedded SQLite.
