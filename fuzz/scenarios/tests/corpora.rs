//! Replays the corpora of the fuzz targets, and sees that planted faults are found.

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use rr_fuzz_scenarios::{Plant, stateful_with};

/// Inputs of one target, in the order of their names.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{folder:?} is empty");
    paths
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).expect("a corpus file is read")))
        .collect()
}

fn replay(target: &str, scenario: fn(&[u8])) {
    for (path, bytes) in corpus(target) {
        println!("{}", path.display());
        scenario(&bytes);
    }
}

macro_rules! replays {
    ($($target:ident)*) => {
        $(
            #[test]
            fn $target() {
                replay(stringify!($target), rr_fuzz_scenarios::$target);
            }
        )*
    };
}

replays! { stateful http_server http_client gzip proxy_header zstd wire nats_wire dedup recording }

#[test]
fn planted_faults_are_found_by_the_stateful_corpus() {
    let corpus = corpus("stateful");
    for plant in [Plant::NotSent, Plant::Twice, Plant::Late] {
        let found =
            corpus.iter().any(|(_, bytes)| catch_unwind(|| stateful_with(bytes, plant)).is_err());
        assert!(found, "{plant:?} was not found");
    }
}
