use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Result<Json, ReadError> {
    parse(text, 256)
}

#[test]
fn numbers_as_javascript_writes_them() {
    for (number, text) in [
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (-1.5, "-1.5"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (1.25e-7, "1.25e-7"),
        (0.1 + 0.2, "0.30000000000000004"),
        (5e-324, "5e-324"),
        (f64::MAX, "1.7976931348623157e+308"),
        (123_456_789.125, "123456789.125"),
        (f64::INFINITY, "null"),
    ] {
        assert_eq!(to_text(&Json::Number(number)), text);
    }
    assert_eq!(read("1e400"), Ok(Json::Number(f64::INFINITY)));
    let Ok(Json::Number(zero)) = read("-0") else {
        panic!("-0 is a number")
    };
    assert!(zero.is_sign_negative());
}

#[test]
fn texts() {
    for (text, meaning) in [
        (r#""\ud83d\ude00""#, "😀"),
        (r#""\ud800""#, "\u{fffd}"),
        (r#""\udc00x""#, "\u{fffd}x"),
        (r#""\ud800\u0041""#, "\u{fffd}A"),
        (r#""\ud800\ud83d\ude00""#, "\u{fffd}😀"),
        (r#""\b\f\n\r\t\/\\\"é""#, "\u{8}\u{c}\n\r\t/\\\"é"),
    ] {
        assert_eq!(read(text), Ok(meaning.into()), "{text}");
    }
    assert_eq!(
        to_text(&"\u{1}\n\"\\é\u{7f}".into()),
        "\"\\u0001\\n\\\"\\\\é\u{7f}\""
    );
}

#[test]
fn order_and_repeated_members() {
    let json = read(r#" { "b" : 1 , "a" : [ ] , "b" : { } } "#).unwrap();
    assert_eq!(to_text(&json), r#"{"b":{},"a":[]}"#);
}

#[test]
fn not_json() {
    for bad in [
        "",
        " ",
        "[",
        "]",
        "[1",
        "[1,]",
        "[,1]",
        "{",
        "{1:2}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "+1",
        "tru",
        "nul",
        "\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\n\"",
        "1 2",
        "[1}",
        "{\"a\":1]",
        "'a'",
        "NaN",
        "\u{feff}1",
    ] {
        assert!(matches!(read(bad), Err(ReadError::Syntax { .. })), "{bad}");
    }
}

#[test]
fn depth_is_counted_and_never_felt() {
    let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert!(parse(&nested(3), 3).is_ok());
    // An empty innermost container is a leaf and costs no level.
    assert_eq!(parse(&nested(5), 3), Err(ReadError::TooDeep { limit: 3 }));
    assert!(matches!(
        read(&"[".repeat(100_000)),
        Err(ReadError::TooDeep { .. })
    ));
    assert!(matches!(
        read(&"{\"a\":".repeat(100_000)),
        Err(ReadError::TooDeep { .. })
    ));
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        any::<f64>()
            .prop_filter("finite", |n| n.is_finite())
            .prop_map(|n| Json::Number(if n == 0.0 { 0.0 } else { n })),
        any::<String>().prop_map(Json::String),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::Array),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back(json in any_json()) {
        prop_assert_eq!(read(&to_text(&json)), Ok(json));
    }

    // Amounts of money, and their neighbours, which have many more digits.
    #[test]
    fn short_decimals_are_written_as_all_others(
        hundredths in prop_oneof![-100_000_i64..100_000, -2_000_000_000_000_000_i64..2_000_000_000_000_000],
        steps in -2_i64..=2,
    ) {
        let number = hundredths as f64 / 100.0;
        let number = f64::from_bits(number.to_bits().saturating_add_signed(steps));
        prop_assume!(number.is_finite() && number != 0.0);
        let mut digits = ryu_js::Buffer::new();
        prop_assert_eq!(to_text(&Json::Number(number)), digits.format_finite(number));
    }

    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = read(&text);
    }

    #[test]
    fn no_near_json_panics(text in r#"[\[\]{}",:0-9eE.+\\u-]{0,40}"#) {
        let _ = read(&text);
    }
}
