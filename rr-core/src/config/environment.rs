//! Options from environment variables.

use std::collections::BTreeMap;
use std::ffi::OsString;

use rr_spi::{Code, Delivery, Error};

use super::{ClientConfig, SECTIONS, Sections, ServerConfig};

/// Applies the variables that begin with a prefix, in the order of their names.
///
/// Like the query of a URL, a variable may be an option of either end: the configuration applies
/// those that it has.
pub(super) fn apply(
    prefix: &str,
    variables: impl Iterator<Item = (OsString, OsString)>,
    config: &mut impl Sections,
) -> Result<(), Error> {
    if prefix.is_empty() {
        return Err(invalid("the prefix of environment variables is empty".to_owned())
            .with_hint("choose a prefix that ends in `_`, such as `RR_`"));
    }
    let known = known(prefix);
    let (mut client, mut server) = (ClientConfig::default(), ServerConfig::default());
    let variables = variables.map(|(name, value)| (name.to_string_lossy().into_owned(), value));
    for (variable, value) in variables.collect::<BTreeMap<_, _>>() {
        if !variable.starts_with(prefix) {
            continue;
        }
        let Some(&(section, name)) = known.get(&variable) else {
            return Err(unknown(prefix, &variable, &known));
        };
        let Some(text) = value.to_str() else {
            return Err(unfit(&variable, &value.to_string_lossy(), "it is UTF-8"));
        };
        let set = |config: &mut dyn Sections| match config.set(section, name, text) {
            Ok(_) => Ok(()),
            Err(error) => Err(unfit(&variable, text, &error.to_string())),
        };
        // Both ends check the value, as they do for a URL.
        set(&mut client)?;
        set(&mut server)?;
        set(config)?;
    }
    Ok(())
}

/// Section and name of each option, by its variable.
type Known = BTreeMap<String, (&'static str, &'static str)>;

/// Returns the variables of both ends.
fn known(prefix: &str) -> Known {
    let mut known = Known::new();
    let mut add = |section: &'static str, name: &'static str| {
        let between = if section.is_empty() { "" } else { "_" };
        let option = format!("{section}{between}{name}").to_ascii_uppercase();
        known.insert(format!("{prefix}{option}"), (section, name));
    };
    ClientConfig::names(&mut add);
    ServerConfig::names(&mut add);
    known
}

fn unknown(prefix: &str, variable: &str, known: &Known) -> Error {
    let error = invalid(format!("unknown variable `{}`", rr_spi::excerpt(variable, 64)));
    let option = variable[prefix.len()..].to_ascii_lowercase();
    let is_of = |section: &str| option.strip_prefix(section).is_some_and(|it| it.starts_with('_'));
    if let Some((section, _)) = SECTIONS.iter().find(|row| !row.1 && is_of(row.0)) {
        return error.with_hint(format!("enable the feature `{section}` of rr-core"));
    }
    let known: Vec<_> = known.keys().map(String::as_str).collect();
    error.with_hint(format!("known variables: {}", known.join(", ")))
}

fn unfit(variable: &str, text: &str, hint: &str) -> Error {
    let shown = rr_spi::options::shown(variable, text);
    let message = format!("variable `{variable}` cannot be `{shown}`");
    invalid(message).with_hint(hint.to_owned())
}

fn invalid(message: String) -> Error {
    Error::failure(Code::InvalidArgument, Delivery::NotSent, None, message)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read<C: Sections + Default>(variables: &[(&str, &str)]) -> Result<C, Error> {
        let mut config = C::default();
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        apply("RR_", variables, &mut config)?;
        Ok(config)
    }

    #[test]
    fn a_variable_sets_the_option_of_its_name_and_others_are_ignored() {
        let variables = [
            ("RR_TIMEOUT", "1500ms"),
            ("RR_REQUEST_BYTES_MAX", "7"),
            ("PATH", "/bin"),
            ("R_R", "x"),
        ];
        let config: ClientConfig = read(&variables).unwrap();
        assert_eq!(config.calls.timeout, Duration::from_millis(1500));
        assert_eq!(config.calls.limits.request_bytes_max, 7);
        // The timeout is an option of requesters only, and the server ignores it.
        let config: ServerConfig = read(&variables).unwrap();
        assert_eq!(config.intake.limits.request_bytes_max, 7);
        assert_eq!(read::<ClientConfig>(&[]).unwrap(), ClientConfig::default());
    }

    #[cfg(all(feature = "http", feature = "nats"))]
    #[test]
    fn the_options_of_a_section_have_its_name_in_front() {
        let variables = [
            ("RR_HTTP_IDLE_MAX", "3"),
            ("RR_NATS_NAME", "orders"),
            ("RR_NATS_QUEUE", ""),
            ("RR_NATS_IN_FLIGHT_MAX", "4"),
            ("RR_IN_FLIGHT_MAX", "5"),
        ];
        let client: ClientConfig = read(&variables).unwrap();
        assert_eq!((client.http.idle_max, client.nats.in_flight_max), (3, 4));
        assert_eq!(client.nats.connection.name, "orders");
        let server: ServerConfig = read(&variables).unwrap();
        assert_eq!((server.nats.queue, server.intake.in_flight_max), (None, 5));
        assert_eq!(server.nats.connection.name, "orders");
    }

    #[test]
    fn mistakes_are_refused_by_name_with_a_hint() {
        for (variable, text, hint) in [
            ("RR_TIMEUOT", "1s", "RR_TIMEOUT"),
            ("RR_timeout", "1s", "RR_TIMEOUT"),
            ("RR_", "1s", "RR_TIMEOUT"),
            ("RR_TIMEOUT", "5", "`1500ms`"),
            ("RR_TIMEOUT", "", "`1500ms`"),
            // Refused by a requester too, although only a server has the option.
            ("RR_IN_FLIGHT_MAX", "-1", "`64`"),
        ] {
            let error = read::<ClientConfig>(&[(variable, text)]).unwrap_err();
            let told = (error.code(), error.delivery());
            assert_eq!(told, (Code::InvalidArgument, Delivery::NotSent), "{variable}");
            assert!(error.message().contains(&format!("`{variable}`")), "{error}");
            assert!(error.hint().contains(hint), "{variable}: {}", error.hint());
        }
        let error = read::<ClientConfig>(&[("RR_A\n\x1b", "1")]).unwrap_err();
        assert!(!error.message().contains(['\n', '\x1b']), "{error}");
    }

    #[cfg(feature = "http")]
    #[test]
    fn a_refused_proxy_is_named_without_its_password() {
        for text in
            ["orders:hunter2@p:3128", "http:/u:hunter2@h", "http://u:hunter2", "ftp://hunter2"]
        {
            let error = read::<ClientConfig>(&[("RR_HTTP_PROXY", text)]).unwrap_err();
            assert!(error.message().contains("`RR_HTTP_PROXY`"), "{error}");
            let shown = format!("{error:?} {error} {}", error.hint());
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[cfg(not(feature = "http"))]
    #[test]
    fn an_option_of_a_transport_that_is_not_compiled_in_names_its_feature() {
        let error = read::<ClientConfig>(&[("RR_HTTP_IDLE_MAX", "3")]).unwrap_err();
        assert_eq!(error.hint(), "enable the feature `http` of rr-core");
    }

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_not_unicode_is_refused() {
        use std::os::unix::ffi::OsStringExt as _;

        let value = OsString::from_vec(vec![0xff]);
        let variables = [("RR_TIMEOUT".into(), value)].into_iter();
        let error = apply("RR_", variables, &mut ClientConfig::default()).unwrap_err();
        assert!(error.message().contains("`RR_TIMEOUT`"), "{error}");
    }

    #[test]
    fn the_environment_of_the_process_is_read_and_a_prefix_is_needed() {
        // Every process has a `PATH`, which this prefix matches.
        let error = ClientConfig::from_env("PAT").unwrap_err();
        assert_eq!(error.message(), "unknown variable `PATH`");
        assert!(error.hint().contains("PATTIMEOUT"), "{}", error.hint());
        assert!(ClientConfig::from_env("").unwrap_err().hint().contains("`RR_`"));
        let server = ServerConfig::from_env("RR_CORE_TESTS_SET_NOTHING_").unwrap();
        assert_eq!(server, ServerConfig::default());
    }
}
