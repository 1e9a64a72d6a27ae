//! The JSON of the Cap'n Web crates against Node's: the same texts are read and refused, and what is read is written
//! alike.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use capnweb_proto::json::{Json, parse, to_text};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::capnweb::js;

const TEXTS: usize = 10_000;

/// Texts that are JSON, in every way of writing it.
fn valid() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        any::<f64>().prop_filter_map("finite", |n| n.is_finite().then(|| format!("{n:e}"))),
        any::<u64>()
            .prop_map(f64::from_bits)
            .prop_filter_map("finite", |n| n.is_finite().then(|| n.to_string())),
        any::<i64>().prop_map(|n| n.to_string()),
        r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?",
        Just("1e400".into()),
        Just("-0".into()),
        Just("9007199254740993".into()),
    ];
    let string = prop_oneof![
        any::<String>().prop_map(|text| to_text(&Json::String(text))),
        r#""(\\["\\/bfnrt]|\\u[0-9a-fA-F]{4}|\\ud[89ab][0-9a-f]{2}|\\ud[c-f][0-9a-f]{2}|[a-zé😀 ]){0,8}""#,
    ];
    // Without escapes: V8's parser (in Node 24.21) at times takes one escaped name for another it saw before.
    let key = prop_oneof![
        4 => r#""[^"\\\x00-\x1f]{0,8}""#.boxed(),
        1 => prop_oneof![
            Just(r#""__proto__""#),
            Just(r#""constructor""#),
            Just(r#""toJSON""#),
            Just(r#""a""#),
            Just(r#""10""#),
            Just(r#""9""#),
            Just(r#""01""#),
            Just(r#""4294967294""#),
            Just(r#""4294967295""#),
            Just(r#""-1""#),
        ]
        .prop_map(str::to_owned)
        .boxed(),
    ];
    let blank = "[ \t\r\n]{0,2}";
    let leaf = prop_oneof![
        number,
        string,
        Just("null".into()),
        Just("true".into()),
        Just("false".into())
    ];
    leaf.prop_recursive(4, 16, 4, move |inner| {
        let padded = (blank, inner, blank).prop_map(|(before, value, after)| before + &value + &after);
        prop_oneof![
            prop::collection::vec(padded.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((key.clone(), padded), 0..4).prop_map(|members| {
                let members: Vec<_> = members
                    .into_iter()
                    .map(|(key, value)| format!("{key} :{value}"))
                    .collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

/// Texts that nearly are.
fn near() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        r#"[\[\]{}",:0-9eE+.\\u -]{0,12}"#,
        r#"(-|\+|0|00|1|\.|e|E|1e|1e\+|0x1|NaN|Infinity|-Infinity|1\.|\.5|01|-01|1e5\.5)"#,
        r#""[\x00-\x1f\x7f]{1,3}""#,
        r#"(\[1,\]|\[,1\]|\{"a":1,\}|\{a:1\}|'a'|"\\x41"|"\\u12"|"\\u{41}"|nul|True|\u{feff}1|\u{a0}1|\u{2028}1|1\u{c}|undefined|//x\n1|"\n")"#,
        (valid(), any::<prop::sample::Index>(), any::<char>()).prop_map(|(text, at, c)| {
            let mut chars: Vec<char> = text.chars().collect();
            let at = at.index(chars.len() + 1);
            if at < chars.len() && (c as u32).is_multiple_of(2) {
                chars.remove(at);
            } else {
                chars.insert(at, c);
            }
            chars.into_iter().collect()
        }),
    ]
}

/// As JavaScript orders members: indices first.
fn ordered(json: Json) -> Json {
    match json {
        Json::Array(items) => Json::Array(items.into_iter().map(ordered).collect()),
        Json::Object(members) => {
            let index = |name: &str| {
                let number: Option<u32> = name.parse().ok().filter(|n| *n != u32::MAX);
                number.filter(|number| number.to_string() == name)
            };
            let mut members: Vec<_> = members
                .into_iter()
                .map(|(name, value)| (name, ordered(value)))
                .collect();
            // Stable: names that are no index keep their order.
            members.sort_by_key(|(name, _)| index(name).map_or(u64::MAX, u64::from));
            Json::Object(members)
        }
        other => other,
    }
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn json_is_javascripts() -> Result<()> {
    let mut runner = TestRunner::deterministic();
    let (valid, near) = (valid(), near());
    let mut texts = Vec::with_capacity(TEXTS);
    for index in 0..TEXTS {
        let tree = if index % 2 == 0 {
            valid.new_tree(&mut runner).map(|tree| tree.current())
        } else {
            near.new_tree(&mut runner).map(|tree| tree.current())
        };
        texts.push(tree.map_err(|error| anyhow::anyhow!("{error}"))?);
    }
    let mut input = tempfile::NamedTempFile::new()?;
    for text in &texts {
        writeln!(input, "{}", hex(text))?;
    }
    input.flush()?;
    let mut node = js("json.mjs").await?;
    node.arg(input.path()).stderr(Stdio::inherit());
    let output = bowline_e2e::program::run(node, Duration::from_secs(120)).await?;
    let answers = String::from_utf8(output.stdout)?;
    let mut read = 0;
    let mut answers = answers.lines();
    for text in &texts {
        let theirs = answers.next().context("an answer for each text")?;
        let ours = match parse(text, 10_000) {
            Ok(json) => {
                read += 1;
                hex(&to_text(&ordered(json)))
            }
            Err(_) => "!".to_owned(),
        };
        assert_eq!(ours, theirs, "{text:?}");
    }
    println!("{TEXTS} texts, {read} of them JSON");
    assert!(read > TEXTS / 2 && read < TEXTS);
    Ok(())
}
