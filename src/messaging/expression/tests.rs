//! What Go's expressions mean, by example.

use super::*;
use proptest::prelude::*;

fn anywhere(expression: &str, value: &str) -> bool {
    Expression::anywhere(expression).unwrap_or_else(|e| panic!("{e}")).is_match(value)
}

#[test]
fn a_query_matches_anywhere_and_members_match_in_full() {
    for (expression, value, in_query, in_members) in [
        ("web", "web", true, true),
        ("web", "webserver", true, false),
        ("^web$", "webserver", false, false),
        ("", "x", true, false),
        ("", "", true, true),
        // The anchors are around the text, not around a group.
        ("web|x", "webserver", true, true),
        ("web|x", "prefix", true, true),
        ("web|x", "a web b", true, false),
        ("(web|x)", "webserver", true, false),
        (".*", "a\nb", true, false),
    ] {
        assert_eq!(anywhere(expression, value), in_query, "{expression:?} in {value:?}");
        let whole = Expression::whole(expression).unwrap().is_match(value);
        assert_eq!(whole, in_members, "{expression:?} is {value:?}");
    }
    assert!(Expression::whole("*").unwrap().is_match("anything"));
    assert!(Expression::anywhere("*").is_err());
    assert!(Expression::whole("a)(b").is_err());
}

#[test]
fn expressions_mean_what_they_mean_in_go() {
    for (expression, matches, others) in [
        (r"^\pL+$", &["abc", "größe", "Ωμέγα", "漢字"][..], &["a1", "", "a b"][..]),
        (r"^\p{Lu}\p{Ll}+$", &["Größe", "Ωμέγα"], &["größe", "GR"]),
        (r"^[^\pN]+$", &["abc", "+"], &["a1", "Ⅷ", "½"]),
        (r"^\PN$", &["a"], &["7"]),
        (r"^\p{^Nd}$", &["a", "½"], &["7", "٣"]),
        (r"^\P{^Nd}$", &["7", "٣"], &["a"]),
        (r"^[\p{Nd}_-]+$", &["1_٣-"], &["a"]),
        (r"^\p{Any}$", &["a", "\u{378}"], &[""]),
        (r"^\Qa.b*\E+$", &["a.b*", "a.b**"], &["axb", "a.bb"]),
        (r"^\Qa.b", &["a.b"], &["axb"]),
        (r"(?i)^größe$", &["größe", "GRÖẞE"], &["grosse", "GRÖSSE"]),
        (r"(?i)^σ$", &["Σ", "ς", "σ"], &["s"]),
        (r"(?i)^привет$", &["ПРИВЕТ"], &[]),
        (r"(?i)^[k-m]s$", &["\u{212A}ſ", "Ls"], &["js"]),
        (r"(?i)^i$", &["I"], &["ı", "İ"]),
        (r"(?i)^[^a]$", &["b"], &["A"]),
        (r"(?i)^\p{Lu}$", &["a"], &["1"]),
        (r"^(?i:a)b$", &["Ab", "ab"], &["AB"]),
        (r"^((?i)a)b$", &["Ab"], &["AB"]),
        (r"^(?i)a(?-i)b$", &["Ab"], &["AB"]),
        (r"(?s)^.$", &["\n", "a"], &[]),
        (r"(?m)^b$", &["a\nb"], &["ab"]),
        (r"^(?U)a+$", &["aa"], &[]),
        (r"^(?P<x>a)(?<y>b)$", &["ab"], &[]),
        (r"^\d\w\s$", &["1_\t"], &["٣a ", "1é ", "1a\u{b}"]),
        (r"^\D\W\S$", &["é+\u{b}"], &["1+a"]),
        (r"^[[:alpha:]][[:^digit:]]$", &["aé"], &["éa", "a1"]),
        (r"^[a[b]+$", &["a[b"], &["]"]),
        (r"^[a&&b~~-]+$", &["a&b~-"], &["c"]),
        (r"^[]a-]+$", &["]a-"], &["b"]),
        (r"^[^]]+$", &["a"], &["]"]),
        (r"^[\]\\\x41\t]+$", &["]\\A\t"], &["t"]),
        (r"^a*?b+?c??d{1}?$", &["bd", "aabbcd"], &["ad"]),
        (r"^a{2}b{1,}c{0,1}$", &["aabc", "aabb"], &["ab"]),
        (r"^a{,2}{x}{$", &["a{,2}{x}{"], &[]),
        (r"^\x41\x{263a}\101\0\_\<\-$", &["A☺A\0_<-"], &[]),
        (r"^\a\f\n\r\t\v$", &["\x07\x0c\n\r\t\x0b"], &[]),
        (r"\bweb\b", &["a web b", "web-1", "éweb"], &["webs"]),
        (r"^# a/b$", &["# a/b"], &[]),
        (r"^[^\x00-\x{10FFFF}]?$", &[""], &["a"]),
        (r"\A(a|)\z", &["a", ""], &["b"]),
    ] {
        let compiled = Expression::anywhere(expression).unwrap_or_else(|e| panic!("{e}"));
        for value in matches {
            assert!(compiled.is_match(value), "{expression} matches {value:?}");
        }
        for value in others {
            assert!(!compiled.is_match(value), "{expression} does not match {value:?}");
        }
    }
}

#[test]
fn bytes_that_are_no_text_are_each_one_replacement_character() {
    let is = |expression: &str, value: &[u8]| Expression::whole(expression).unwrap().is_match(value);
    assert!(is("a.b", b"a\xffb"));
    assert!(is("a\u{fffd}b", b"a\xffb"));
    assert!(is("..", b"\xe2\x82"), "the beginning of a character is two bytes");
    assert!(is("...", b"\xed\xa0\x80"), "a surrogate is no character");
    assert!(is("é.", b"\xc3\xa9\xc3"));
    assert!(!is("a.b", b"a\xff\xffb"));
}

#[test]
fn what_is_refused_is_named() {
    for (bad, problem) in [
        ("[", "missing closing ]: `[`"),
        ("[a-", "missing closing ]: `[a-`"),
        ("[b-a]", "invalid character class range: `b-a`"),
        ("[[:nope:]]", "invalid character class range: `[:nope:]`"),
        ("[[:d:]]", "invalid character class range: `[:d:]`"),
        (r"\pX", r"invalid character class range: `\pX`"),
        (r"\p{Nope}", r"invalid character class range: `\p{Nope}`"),
        (r"\p{L", r"invalid character class range: `\p{L`"),
        (r"\p", r"invalid character class range: `\p`"),
        (r"\y", r"invalid escape sequence: `\y`"),
        ("\\", "invalid escape sequence: `\\`"),
        (r"\1", r"invalid escape sequence: `\1`"),
        (r"\x{110000}", r"invalid escape sequence: `\x{110000}`"),
        (r"\xé", r"invalid escape sequence: `\xé`"),
        ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
        ("(?P<>a)", "invalid or unsupported Perl syntax: `(?P<>a)`"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("a{2,99999999999}", "invalid repeat count: `{2,99999999999}`"),
        ("a**", "invalid nested repetition operator: `*`"),
        ("a+?{2}", "invalid nested repetition operator: `{2}`"),
        ("(", ""),
        ("a)(b", ""),
        ("*", ""),
        ("a|*", ""),
        ("((a{500}){500}){500}", ""),
        (&r"\pL".repeat(1000), "it has more than 32 Unicode character classes"),
    ] {
        let refused = Expression::anywhere(bad).expect_err(bad).to_string();
        assert!(refused.starts_with(&format!("Failed to compile regex: '{bad}': {problem}")), "{refused}");
    }
    let long = Expression::anywhere("a".repeat(MAX_LENGTH + 1)).unwrap_err().to_string();
    assert!(long.ends_with("it is 4097 bytes long; at most 4096 are allowed"), "{long}");
    assert!(Expression::anywhere("a".repeat(MAX_LENGTH)).is_ok());
}

proptest! {
    #[test]
    fn no_expression_panics(expression in r"[\\\[\](){}?*+|^$.pPLQE:i<>,0-9a-d-é]{0,24}", value in any::<Vec<u8>>()) {
        if let Ok(compiled) = Expression::anywhere(&expression) {
            let _ = compiled.is_match(&value);
        }
        let _ = Expression::whole(&expression);
    }

    #[test]
    fn a_quoted_text_matches_itself(text in r"[^\\]{0,20}") {
        let quoted = format!(r"\Q{text}\E");
        prop_assert!(Expression::whole(&quoted).unwrap().is_match(&text));
    }
}
