use std::time::Duration;

use serde::Deserialize;

use super::*;
use crate::error::{Code, Delivery};
use crate::{CallConfig, IntakeConfig};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    DarkRed,
    Green,
}

/// A number with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Ratio(u8);

crate::options! {
    /// One option of each kind.
    pub struct Kinds {
        /// A time.
        #[serde(deserialize_with = "crate::duration::deserialize")]
        pub pause: Duration = Duration::from_secs(1), with_pause(Duration);
        /// A small number.
        pub small: u32 = 1, with_small(u32);
        /// A number.
        pub count: usize = 2, with_count(usize);
        /// A signed number.
        pub offset: i32 = 0, with_offset(i32);
        /// A number of a type of its own.
        pub ratio: Ratio = Ratio(0), with_ratio(Ratio);
        /// A boolean.
        pub on: bool = false, with_on(bool);
        /// An optional text.
        pub group: Option<String> = Some("q".to_owned()), with_group(Option<String>);
        /// One of several.
        pub colour: Colour = Colour::Green, with_colour(Colour);
    }
    parts {
        /// A part.
        pub calls: CallConfig, with_calls;
    }
}

crate::options! {
    /// Options with a prefix.
    pub struct Lamp named "lamp_" {
        /// A number.
        pub watts: u32 = 5, with_watts(u32);
    }
}

crate::options! {
    /// A part with a prefix, and one that this build lacks.
    pub struct Desk {
        /// A number.
        pub watts: u32 = 1, with_watts(u32);
    }
    parts {
        /// A part.
        pub lamp: Lamp, with_lamp;
    }
    parts with "no such feature" {
        /// A part whose type does not exist.
        pub chair: Chair, with_chair;
    }
}

#[test]
fn a_prefix_is_part_of_the_name_in_a_url_and_not_in_a_file() {
    let expected = Desk::default().with_lamp(Lamp::default().with_watts(7));
    let location = Location::parse("x://h?lamp_watts=7").unwrap();
    let (desk, _) = location.configure(Desk::default(), IntakeConfig::default()).unwrap();
    assert_eq!(desk, expected);
    assert_eq!(serde_json::from_str::<Desk>(r#"{"lamp": {"watts": 7}}"#).unwrap(), expected);
    let mut names = Vec::new();
    Desk::names(&mut |name| names.push(name));
    assert_eq!(names, ["watts", "lamp_watts"]);
}

#[test]
fn an_option_that_needs_a_feature_names_it() {
    let location = Location::parse("x://h?chair_legs=3").unwrap();
    let error = location.configure(IntakeConfig::default(), Desk::default()).unwrap_err();
    assert_eq!(error.message(), "unknown parameter `chair_legs`");
    assert_eq!(error.hint(), "enable the feature `no such feature`");
    assert!(serde_json::from_str::<Desk>(r#"{"chair": {}}"#).is_err());
}

fn kinds(query: &str) -> Result<Kinds, Error> {
    let location = Location::parse(&format!("x://h?{query}"))?;
    Ok(location.configure(Kinds::default(), IntakeConfig::default())?.0)
}

#[test]
fn a_url_sets_options_of_every_kind_and_those_of_parts() {
    let query = "pause=20ms&small=3&count=4&on=true&group=blue&colour=dark_red&timeout=5s\
                 &offset=-7&ratio=8";
    let expected = Kinds::default()
        .with_pause(Duration::from_millis(20))
        .with_small(3)
        .with_count(4)
        .with_on(true)
        .with_offset(-7)
        .with_ratio(Ratio(8))
        .with_group(Some("blue".to_owned()))
        .with_colour(Colour::DarkRed)
        .with_calls(CallConfig::default().with_timeout(Duration::from_secs(5)));
    assert_eq!(
        Kinds::from(expected.calls.clone()),
        Kinds::default().with_calls(expected.calls.clone())
    );
    assert_eq!(kinds(query).unwrap(), expected);
    assert_eq!(kinds("group=").unwrap().group, None);
    assert_eq!(kinds("").unwrap(), Kinds::default());
}

#[test]
fn one_url_does_for_both_ends() {
    let location = Location::parse("x://h?request_bytes_max=7&in_flight_max=8&small=9");
    let both = location.unwrap().configure(Kinds::default(), IntakeConfig::default()).unwrap();
    assert_eq!(both.0.calls.limits.request_bytes_max, 7);
    assert_eq!(both.1.limits.request_bytes_max, 7);
    assert_eq!((both.0.small, both.1.in_flight_max), (9, 8));
}

#[test]
fn mistakes_are_refused_by_name_and_the_hint_shows_the_good_form() {
    for (bad, hint) in [
        ("pause=5", "`1500ms`"),
        ("small=5000000000", "u32"),
        ("count=-1", "`64`"),
        ("count=", "`64`"),
        ("on=yes", "`true`"),
        ("colour=blue", "`dark_red` or `green`"),
        ("timeout=5", "`1500ms`"),
        ("in_flight_max=many", "`64`"),
        ("smal=3", "small, count"),
    ] {
        let error = kinds(bad).unwrap_err();
        let told = (error.code(), error.delivery());
        assert_eq!(told, (Code::InvalidArgument, Delivery::NotSent), "{bad}");
        let name = bad.split('=').next().unwrap();
        assert!(error.message().contains(&format!("`{name}`")), "{error}");
        assert!(error.hint().contains(hint), "{bad}: {}", error.hint());
    }
    for bad in ["pause=%0a%1b", "colour=%0a%1b", "count=%0a%1b", "on=%0a%1b", "%0a%1b=1"] {
        let error = kinds(bad).unwrap_err();
        let shown = format!("{} {}", error.message(), error.hint());
        assert!(!shown.contains(['\n', '\x1b']), "{bad}: {shown}");
    }
}

#[test]
fn files_and_urls_name_the_same_options() {
    let text = r#"{"pause": "20ms", "small": 3, "calls": {"timeout": "5s"}}"#;
    let kinds: Kinds = serde_json::from_str(text).unwrap();
    assert_eq!((kinds.pause, kinds.small), (Duration::from_millis(20), 3));
    assert_eq!(kinds.calls.timeout, Duration::from_secs(5));
    assert!(serde_json::from_str::<Kinds>(r#"{"smal": 3}"#).is_err());
}
