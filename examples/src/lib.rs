//! Holds no code: the programs are the examples listed in `README.md`.

/// Runs the code of the project's README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// Compiles the code of the book that stands for itself (`rust`); the rest (`rs`) quotes an example.
#[cfg(doctest)]
#[doc = include_str!("../../docs/src/writing-a-transport.md")]
pub struct WritingATransport;

/// Compiles the smallest programs.
#[cfg(doctest)]
#[doc = include_str!("../../docs/src/ping.md")]
pub struct Ping;

/// Runs the code of the book on a first service.
#[cfg(doctest)]
#[doc = include_str!("../../docs/src/a-service.md")]
pub struct AService;

/// Runs the code of the book on tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/src/testing.md")]
pub struct Testing;

/// Runs the code of the book on every world.
#[cfg(doctest)]
#[doc = include_str!("../../docs/src/every-world.md")]
pub struct EveryWorld;

/// Runs the code of the book on mounting.
#[cfg(doctest)]
#[doc = include_str!("../../docs/src/mounting.md")]
pub struct Mounting;

/// Compiles the code of the book on NATS.
#[cfg(doctest)]
#[doc = include_str!("../../docs/src/nats.md")]
pub struct Nats;

/// Compiles the code of the book on errors.
#[cfg(doctest)]
#[doc = include_str!("../../docs/src/errors.md")]
pub struct Errors;

/// Compiles the code of the book on retries.
#[cfg(doctest)]
#[doc = include_str!("../../docs/src/retries.md")]
pub struct Retries;

/// Compiles the code of the book on overload.
#[cfg(doctest)]
#[doc = include_str!("../../docs/src/overload.md")]
pub struct Overload;

/// Compiles the code of the book on observability.
#[cfg(doctest)]
#[doc = include_str!("../../docs/src/observability.md")]
pub struct Observability;

/// Compiles the code of the book on HTTP.
#[cfg(doctest)]
#[doc = include_str!("../../docs/src/http.md")]
pub struct Http;

#[cfg(test)]
#[path = "../every_world/shop.rs"]
mod shop;

#[cfg(test)]
mod tests {
    use rr_core::observe::measurements::{Instrument, InstrumentKind};

    use super::shop;

    #[test]
    fn the_readme_shows_the_quickstart_as_it_runs() {
        let program = include_str!("../quickstart.rs");
        let (_, code) = program.split_once("\n\n").unwrap();
        assert!(include_str!("../../README.md").contains(code.trim()));
    }

    #[test]
    fn the_picture_of_every_world_is_what_is_found() {
        let scenario = |network| shop::one_order(network, shop::a_key_for_each_attempt);
        let found = rr_testkit::worlds::Worlds::up_to(1).run(scenario);
        let picture = found.counterexample().expect("the mistake is found").trace().svg();
        let hint = "cargo run --example every_world -- picture > every_world/double_charge.svg";
        assert_eq!(picture, include_str!("../every_world/double_charge.svg"), "{hint}");
        let scenario = |network| shop::one_order(network, shop::a_key_for_each_order);
        let passed = rr_testkit::worlds::Worlds::up_to(2).run(scenario);
        assert!(passed.is_complete(), "{passed}");
        let number = format!("all {} worlds", passed.explored() + passed.equal());
        assert!(include_str!("../every_world/README.md").contains(&number), "{number}");
    }

    #[test]
    fn the_smallest_programs_stay_small() {
        let page = include_str!("../../docs/src/ping.md");
        let programs = page.split("```rust,no_run\n").skip(1);
        let lines = programs.map(|rest| {
            let (program, _) = rest.split_once("```").unwrap();
            program.lines().filter(|line| !line.is_empty()).count()
        });
        let lines: Vec<_> = lines.collect();
        let is_small = lines.iter().zip([9, 8, 11, 11]).all(|(lines, most)| *lines <= most);
        assert!(lines.len() == 4 && is_small, "{lines:?}");
    }

    #[test]
    fn the_book_lists_reasons_by_their_identifiers() {
        let page = include_str!("../../docs/src/errors.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `")).filter_map(|line| {
            let (reason, rest) = line.split_once("` | RR")?;
            Some((rr_core::Reason::parse(reason)?, rest.split(' ').next()?))
        });
        let mut listed = 0;
        for (reason, id) in rows {
            let error = rr_core::Error::new(rr_core::Code::Unknown, "").with_reason(reason);
            assert_eq!(error.id(), format!("RR{id}"), "{error}");
            listed += 1;
        }
        assert_eq!(listed, 27);
    }

    #[test]
    fn the_book_lists_the_metrics_and_shows_how_their_example_exports_them() {
        let page = include_str!("../../docs/src/observability.md");
        let mut metrics = 0;
        for line in page.lines().filter(|line| line.starts_with("| `r")) {
            let cells: Vec<_> = line.split(" | ").collect();
            let name = cells[0].trim_start_matches("| ").trim_matches('`');
            let is_named = |it: &&Instrument| it.name() == name;
            let Some(instrument) = Instrument::ALL.iter().find(is_named) else { continue };
            let kind = match instrument.kind() {
                InstrumentKind::Histogram => "histogram",
                InstrumentKind::Counter => "counter",
                InstrumentKind::UpDownCounter => "up-down counter",
                _ => "gauge",
            };
            assert_eq!((cells[1], cells[2].trim_matches('`')), (kind, instrument.unit()), "{line}");
            metrics += 1;
        }
        assert_eq!(metrics, Instrument::ALL.len());
        let install = page.split("```rs\n").find(|code| code.starts_with("fn install")).unwrap();
        let (install, _) = install.split_once("```").unwrap();
        assert!(include_str!("../metrics/main.rs").contains(install), "{install}");
    }

    /// The files of the transport that the book goes through.
    const TRANSPORT: [&str; 5] = [
        include_str!("../third_party_transport/harness.rs"),
        include_str!("../third_party_transport/requester.rs"),
        include_str!("../third_party_transport/server.rs"),
        include_str!("../third_party_transport/tests.rs"),
        include_str!("../third_party_transport/wire.rs"),
    ];

    #[test]
    fn the_book_quotes_the_transport_as_it_runs() {
        for page in [
            include_str!("../../docs/src/writing-a-transport.md"),
            include_str!("../../docs/src/reading-a-report.md"),
        ] {
            let quotes: Vec<_> = page.split("```rs\n").skip(1).collect();
            assert!(!quotes.is_empty());
            for quote in quotes {
                let (quote, _) = quote.split_once("```").unwrap();
                assert!(TRANSPORT.iter().any(|file| file.contains(quote)), "not there:\n{quote}");
            }
        }
    }
}
