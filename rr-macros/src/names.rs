//! Names of services and methods: the rules of a target, checked when the trait is compiled.

/// Longest target in bytes, the service's name and the dot included; rr's `Target` has this limit.
pub(crate) const TARGET_BYTES_MAX: usize = 256;

/// Checks the dotted name of a service.
///
/// # Errors
///
/// A sentence that says which rule is broken.
pub(crate) fn check_service(name: &str) -> Result<(), String> {
    let refused = |text: &str| {
        Err(format!(
            "the service name `{}` {text}; name it like `orders.v1`: dotted tokens of letters, digits, `_` and `-`",
            name.escape_debug()
        ))
    };
    if name.split('.').any(str::is_empty) {
        return refused("has an empty token");
    }
    if !name.split('.').all(is_token) {
        return refused("has a character outside [A-Za-z0-9_.-]");
    }
    if name.len() > TARGET_BYTES_MAX {
        return refused("is longer than 256 bytes");
    }
    Ok(())
}

/// Checks the name of a method or an alias within a service whose name is well-formed.
///
/// # Errors
///
/// A sentence that says which rule is broken.
pub(crate) fn check_method(service: &str, name: &str) -> Result<(), String> {
    let refused = |text: &str| Err(format!("the method name `{}` {text}", name.escape_debug()));
    if name.is_empty() {
        return refused("is empty; name it like `place`");
    }
    if name.contains('.') {
        return refused("has a dot; the dotted part is the name of the service");
    }
    if !is_token(name) {
        return refused(
            "has a character outside [A-Za-z0-9_-]; set another with `#[rr(name = \"..\")]`",
        );
    }
    if target(service, name).len() > TARGET_BYTES_MAX {
        return refused("makes a target of more than 256 bytes; shorten it or the service name");
    }
    Ok(())
}

/// Returns the target of a method.
pub(crate) fn target(service: &str, method: &str) -> String {
    format!("{service}.{method}")
}

fn is_token(token: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !token.is_empty() && token.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_at_the_limit_passes_and_one_byte_more_does_not() {
        let service = "s".repeat(TARGET_BYTES_MAX - 2);
        assert_eq!(check_method(&service, "m"), Ok(()));
        assert!(check_method(&service, "mm").unwrap_err().contains("256 bytes"));
        assert!(check_service(&"s".repeat(TARGET_BYTES_MAX + 1)).is_err());
    }

    proptest! {
        #[test]
        fn names_follow_the_rules_of_a_target(
            service in "[a-z_.\\-é /]{0,6}",
            method in "[A-Za-z0-9_.\\-é /]{0,4}",
        ) {
            let target = rr_spi::Target::parse(&target(&service, &method));
            let checked = check_service(&service).and_then(|()| check_method(&service, &method));
            let names_a_method =
                target.is_ok_and(|target| target.service() == service && target.method() == method);
            prop_assert_eq!(checked.is_ok(), names_a_method, "{:?} {:?}", service, method);
        }
    }
}
