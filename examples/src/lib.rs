//! Holds no code: the programs are the examples listed in `README.md`.
