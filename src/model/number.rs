//! Whole numbers as Go's flags take them: `4`, `0x4`, `0o4`, `04`, `0b100`, `1_000`.

/// Reads a number as Go's `strconv.ParseInt` does with base 0; none if it is no number, or too large.
pub fn parse_number(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let prefixed = |capital: &str, small: &str| digits.strip_prefix(capital).or(digits.strip_prefix(small));
    let (radix, prefix, rest) = if let Some(rest) = prefixed("0X", "0x") {
        (16, true, rest)
    } else if let Some(rest) = prefixed("0B", "0b") {
        (2, true, rest)
    } else if let Some(rest) = prefixed("0O", "0o") {
        (8, true, rest)
    } else if let Some(rest) = digits.strip_prefix('0').filter(|rest| !rest.is_empty()) {
        (8, true, rest)
    } else {
        (10, false, digits)
    };
    // An underscore stands between two digits, or between the prefix and one.
    let separated = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_digit(radix));
    let rest = if prefix { rest.strip_prefix('_').unwrap_or(rest) } else { rest };
    if !rest.split('_').all(separated) {
        return None;
    }
    let number = i128::from_str_radix(&rest.replace('_', ""), radix).ok()?;
    i64::try_from(if negative { -number } else { number }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, number) in [
            ("0", 0),
            ("4", 4),
            ("+4", 4),
            ("-4", -4),
            ("0x4", 4),
            ("-0X1f", -31),
            ("0b100", 4),
            ("0o17", 15),
            ("017", 15),
            ("0_4", 4),
            ("0x_f", 15),
            ("1_000", 1000),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(parse_number(text), Some(number), "{text}");
        }
        for text in [
            "",
            "-",
            "+",
            " 4",
            "4 ",
            "4.0",
            "x",
            "0x",
            "08",
            "0b2",
            "_4",
            "4_",
            "1__0",
            "--4",
            "+-4",
            "0x-4",
            "9223372036854775808",
        ] {
            assert_eq!(parse_number(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn decimals_round_trip_and_nothing_panics(number in any::<i64>(), text in "[-+0-9a-fxob_é]{0,8}") {
            prop_assert_eq!(parse_number(&number.to_string()), Some(number));
            let _ = parse_number(&text);
        }
    }
}
