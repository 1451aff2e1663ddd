//! Holds no code: the programs are the examples listed in `README.md`.

/// Runs the code of the project's README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

#[cfg(test)]
mod tests {
    #[test]
    fn the_readme_shows_the_quickstart_as_it_runs() {
        let program = include_str!("../quickstart.rs");
        let (_, code) = program.split_once("\n\n").unwrap();
        assert!(include_str!("../../README.md").contains(code.trim()));
    }
}
