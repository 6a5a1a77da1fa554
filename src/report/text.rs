//! Text of the report: what is escaped, how numbers are written, how templates are filled.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::base::{Error, Result};

/// What stands where there is no number.
const NONE: &str = "–";

/// A value as JSON that may stand in a script element: no text in it can end that element.
pub(super) fn json(value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string(value).map_err(|e| Error::failed("write the report", e))?;
    Ok(text.replace('<', "\\u003c"))
}

/// Puts values in the places `{{name}}` of a template. Values are not looked into for further places.
pub(super) fn filled(template: &str, values: &[(&str, &str)]) -> String {
    let mut parts = template.split("{{");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once("}}").unwrap_or((part, ""));
        let value = values.iter().find(|(known, _)| *known == name);
        debug_assert!(value.is_some(), "the template asks for '{name}'");
        out.push_str(value.map_or("", |(_, value)| value));
        out.push_str(rest);
    }
    out
}

/// A file inside the report.
pub(super) fn data_uri(media_type: &str, bytes: &[u8]) -> String {
    format!("data:{media_type};base64,{}", STANDARD.encode(bytes))
}

/// A number from 0 to 1, or a loss.
pub(crate) fn score(value: Option<f64>) -> String {
    value.filter(|v| v.is_finite()).map_or_else(|| NONE.into(), |v| format!("{v:.4}"))
}

/// Seconds in the two largest units that they fill.
pub(crate) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return NONE.into();
    }
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    let (hours, minutes) = (whole / 3600, whole / 60 % 60);
    match hours {
        0 => format!("{minutes} min {:02} s", whole % 60),
        1..48 => format!("{hours} h {minutes:02} min"),
        _ => format!("{} d {:02} h", hours / 24, hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_users_is_markup() {
        assert_eq!(json(&"</script>").unwrap(), "\"\\u003c/script>\"");
    }

    #[test]
    fn values_are_not_templates() {
        assert_eq!(filled("<{{a}}>{{b}}", &[("a", "{{b}}"), ("b", "2")]), "<{{b}}>2");
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([score(Some(0.5)), score(None), score(Some(f64::NAN))], ["0.5000", "–", "–"]);
        let times = [12.34, 61.0, 3723.0, 200_000.0].map(duration);
        assert_eq!(times, ["12.3 s", "1 min 01 s", "1 h 02 min", "2 d 07 h"]);
    }
}
