//! The fuzzers' entry points over their seeds and a bounded number of mutations of them. The fuzzers themselves:
//! `cargo xtask fuzz`.
#![expect(clippy::unwrap_used, reason = "a test may fail where a value is missing")]

mod rig;

use std::path::Path;
use std::time::{Duration, Instant};

use capnweb_proto::json::{Json, parse, to_text};

/// For each entry point.
const TIME: Duration = Duration::from_secs(8);

/// The recorded conversations: for messages the frames of each, for expressions each value.
fn seeds() -> (Vec<String>, Vec<String>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/capnweb/vectors");
    let (mut conversations, mut expressions) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let vector = parse(&text, 1_000).unwrap();
        for step in items(&vector, "steps") {
            for side in ["send", "receive"] {
                let lines: Vec<String> = items(step, side).iter().map(to_text).collect();
                conversations.push(lines.join("\n"));
            }
        }
        if let Some(Json::Object(values)) = member(&vector, "make") {
            expressions.extend(values.iter().map(|(_, value)| to_text(value)));
        }
    }
    assert!(conversations.len() > 30 && expressions.len() > 40);
    (conversations, expressions)
}

fn member<'a>(json: &'a Json, name: &str) -> Option<&'a Json> {
    let Json::Object(members) = json else { return None };
    members
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value)
}

fn items<'a>(json: &'a Json, name: &str) -> &'a [Json] {
    match member(json, name) {
        Some(Json::Array(items)) => items,
        _ => &[],
    }
}

/// The same numbers in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }
}

fn mutate(dice: &mut Dice, seeds: &[String]) -> Vec<u8> {
    let mut bytes = seeds[dice.roll(seeds.len())].clone().into_bytes();
    for _ in 0..1 + dice.roll(6) {
        let other = seeds[dice.roll(seeds.len())].as_bytes();
        let at = dice.roll(bytes.len() + 1);
        match dice.roll(5) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] = br#"[]{}",:0123456789-en\t"#[dice.roll(22)],
            2 => {
                let from = dice.roll(other.len() + 1);
                let piece = other[from..(from + 1 + dice.roll(60)).min(other.len())].to_vec();
                bytes.splice(at..at, piece);
            }
            3 if at < bytes.len() => {
                let to = (at + 1 + dice.roll(20)).min(bytes.len());
                bytes.drain(at..to);
            }
            _ => {
                bytes.push(b'\n');
                bytes.extend_from_slice(other);
            }
        }
    }
    bytes
}

fn run(seeds: &[String], entry: fn(&[u8])) {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for seed in seeds {
        entry(seed.as_bytes());
    }
    let (started, mut played) = (Instant::now(), 0);
    while played < 20_000 && started.elapsed() < TIME {
        entry(&mutate(&mut dice, seeds));
        played += 1;
    }
}

#[test]
fn json() {
    let (conversations, expressions) = seeds();
    run(&[conversations, expressions].concat(), rig::entries::json);
}

#[test]
fn messages() {
    run(&seeds().0, rig::entries::messages);
}

#[test]
fn expression() {
    run(&seeds().1, rig::entries::expression);
}
