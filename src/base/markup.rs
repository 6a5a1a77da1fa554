//! Text in HTML and XML.

/// Text as it stands in elements and attributes. Control characters, which XML cannot hold, become spaces.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(character),
            control if control.is_control() => out.push(' '),
            _ => out.push(character),
        }
    }
    out
}

/// A colour as CSS writes it.
pub(crate) fn hex([red, green, blue]: [u8; 3]) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_markup_is_made_of_is_escaped() {
        assert_eq!(hex([1, 171, 255]), "#01abff");
        assert_eq!(escaped("a<b & \"c\">'\u{1}\n"), "a&lt;b &amp; &quot;c&quot;&gt;&#39; \n");
    }
}
