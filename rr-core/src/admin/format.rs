//! Text of the HTML page: escaped text, durations and times.

use std::fmt;

/// Text that is escaped for HTML, also within a quoted attribute.
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
            f.write_str(&rest[..at])?;
            f.write_str(match rest.as_bytes()[at] {
                b'&' => "&amp;",
                b'<' => "&lt;",
                b'>' => "&gt;",
                b'"' => "&quot;",
                _ => "&#39;",
            })?;
            rest = &rest[at + 1..];
        }
        f.write_str(rest)
    }
}

/// Duration in milliseconds, in the units that a person reads: `640 µs`, `1.93 s`, `3 h 12 min`.
pub(super) struct Millis(pub(super) f64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0;
        let seconds = (ms / 1000.0) as u64;
        match ms {
            ..1.0 => write!(f, "{:.0} µs", ms * 1000.0),
            ..10.0 => write!(f, "{ms:.1} ms"),
            ..1000.0 => write!(f, "{ms:.0} ms"),
            ..60_000.0 => write!(f, "{:.2} s", ms / 1000.0),
            ..3_600_000.0 => write!(f, "{} min {} s", seconds / 60, seconds % 60),
            ..86_400_000.0 => write!(f, "{} h {} min", seconds / 3600, seconds / 60 % 60),
            _ => write!(f, "{} d {} h", seconds / 86_400, seconds / 3600 % 24),
        }
    }
}

/// Time of the day in UTC, from Unix milliseconds: `13:20:07.250`.
pub(super) struct TimeOfDay(pub(super) u64);

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0 % 86_400_000;
        let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
        write!(f, "{hours:02}:{minutes:02}:{:02}.{:03}", ms / 1000 % 60, ms % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_an_element_or_an_attribute() {
        let hostile = "<script>alert(\"1\")</script> & 'x'";
        let escaped = "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#39;x&#39;";
        assert_eq!(Text(hostile).to_string(), escaped);
        assert_eq!(Text("äöü").to_string(), "äöü");
        assert_eq!(Text("").to_string(), "");
    }

    #[test]
    fn durations_have_the_unit_that_fits() {
        for (ms, text) in [
            (0.0, "0 µs"),
            (0.64, "640 µs"),
            (1.25, "1.2 ms"),
            (340.4, "340 ms"),
            (1934.0, "1.93 s"),
            (185_000.0, "3 min 5 s"),
            (11_520_000.0, "3 h 12 min"),
            (180_000_000.0, "2 d 2 h"),
        ] {
            assert_eq!(Millis(ms).to_string(), text);
        }
    }

    #[test]
    fn a_time_of_the_day_is_in_utc() {
        assert_eq!(TimeOfDay(1_700_000_000_123).to_string(), "22:13:20.123");
        assert_eq!(TimeOfDay(0).to_string(), "00:00:00.000");
    }
}
