//! Holds no code: see `README.md`.
