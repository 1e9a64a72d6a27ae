//! What becomes what between serde and values.

use std::collections::{BTreeMap, HashMap};

use capnweb::kinds::{Any, BigInt, Date, Headers, Url};
use capnweb::{BytesKind, Stub, Value, from_value, to_value};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

fn there_and_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(data: &T, value: Value) {
    assert_eq!(to_value(data).expect("it can be sent"), value);
    assert_eq!(&from_value::<T>(value).expect("it comes back"), data);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Nothing,
    Circle(f64),
    Line(f64, f64),
    Box { width: f64, height: Option<f64> },
    Tree(Vec<Self>),
}

#[test]
fn rust_types_become_javascript_kinds() {
    there_and_back(&(), Value::Undefined);
    there_and_back(&true, Value::Bool(true));
    there_and_back(&-7_i8, Value::Number(-7.0));
    there_and_back(&9_007_199_254_740_991_u64, Value::Number(9_007_199_254_740_991.0));
    there_and_back(
        &9_007_199_254_740_992_u64,
        Value::BigInt("9007199254740992".into()),
    );
    there_and_back(&u128::MAX, Value::BigInt(u128::MAX.to_string()));
    there_and_back(&i64::MIN, Value::BigInt(i64::MIN.to_string()));
    there_and_back(&1.5_f32, Value::Number(1.5));
    there_and_back(&'ß', Value::from("ß"));
    there_and_back(&None::<u32>, Value::Null);
    there_and_back(&Some(1), Value::Number(1.0));
    there_and_back(&(1, "a".to_owned()), Value::Array(vec![1.into(), "a".into()]));
    there_and_back(
        &BTreeMap::from([(-1, true)]),
        Value::object([("-1", Value::Bool(true))]),
    );
    there_and_back(
        &HashMap::from([(true, ())]),
        Value::object([("true", Value::Null)]),
    );
    there_and_back(
        &serde_bytes::ByteBuf::from(vec![1, 2]),
        Value::Bytes(vec![1, 2], BytesKind::Uint8Array),
    );
    there_and_back(&Shape::Nothing, Value::from("Nothing"));
    there_and_back(&Shape::Circle(1.0), Value::object([("Circle", Value::from(1))]));
    there_and_back(
        &Shape::Line(1.0, 2.0),
        Value::object([("Line", Value::Array(vec![1.into(), 2.into()]))]),
    );
    there_and_back(
        &Shape::Box {
            width: 1.0,
            height: None,
        },
        Value::object([(
            "Box",
            Value::object([("width", Value::from(1)), ("height", Value::Null)]),
        )]),
    );
    there_and_back(&Date(Some(5.0)), Value::Date(Some(5.0)));
    there_and_back(&Url("http://a/".into()), Value::Url("http://a/".into()));
    there_and_back(
        &Headers(vec![("a".into(), "b".into())]),
        Value::Headers(vec![("a".into(), "b".into())]),
    );
    there_and_back(&BigInt::from(5_u64), Value::BigInt("5".into()));
    there_and_back(&vec![Any(Value::Undefined)], Value::Array(vec![Value::Undefined]));
    assert_eq!(BigInt::parse("-007"), BigInt::parse("-7"));
    assert_eq!(BigInt::parse("-0").unwrap().as_str(), "0");
    assert_eq!(BigInt::parse("1x"), None);
}

#[test]
fn typed_arrays_are_lists_of_their_elements() {
    let halves: Vec<u8> = [0.5_f64, -1.0].iter().flat_map(|n| n.to_le_bytes()).collect();
    let value = Value::Bytes(halves, BytesKind::Float64Array);
    assert_eq!(from_value::<Vec<f64>>(value).unwrap(), [0.5, -1.0]);
    let value = Value::Bytes(u64::MAX.to_le_bytes().to_vec(), BytesKind::BigUint64Array);
    assert_eq!(from_value::<Vec<u64>>(value).unwrap(), [u64::MAX]);
    assert_eq!(
        from_value::<Vec<u8>>(Value::from(vec![1, 255])).unwrap(),
        [1, 255]
    );
}

#[test]
fn undefined_members_are_as_good_as_none() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Options {
        limit: Option<u32>,
        #[serde(default)]
        deep: bool,
    }
    let value = Value::object([("limit", Value::Undefined), ("deep", Value::Undefined)]);
    assert_eq!(
        from_value::<Options>(value).unwrap(),
        Options {
            limit: None,
            deep: false
        }
    );
}

#[test]
fn what_would_be_lost_is_refused() {
    let refused = |error: capnweb::Error| error.message();
    let map = BTreeMap::from([("toJSON", 1)]);
    assert_eq!(
        refused(to_value(&map).unwrap_err()),
        "peers keep no member of the name `toJSON`"
    );
    let map = BTreeMap::from([((1, 2), 1)]);
    assert_eq!(
        refused(to_value(&map).unwrap_err()),
        "a key is a text, an integer or a boolean"
    );
    let nested = (0..300).fold(Shape::Nothing, |inner, _| Shape::Tree(vec![inner]));
    assert!(refused(to_value(&nested).unwrap_err()).contains("nested deeper than 256 levels"));
    // Beyond 2^53 a double does not say which integer was meant.
    assert!(from_value::<u64>(Value::Number(9_007_199_254_740_994.0)).is_err());
    assert!(from_value::<u32>(Value::BigInt("4294967296".into())).is_err());
    assert!(from_value::<Vec<u8>>(Value::Array(vec![256.into()])).is_err());
    assert!(from_value::<(u32, u32)>(Value::Array(vec![1.into(); 3])).is_err());
    // Other formats have no way to carry a stub.
    let stub = Stub::function(|_: Vec<Value>| Value::Null);
    assert!(serde_json::to_string(&stub).is_err());
    assert!(serde_json::from_str::<Date>("5").is_err());
    assert!(from_value::<Stub>(Value::Number(9_223_372_036_854_775_808.0)).is_err());
    assert!(from_value::<Stub>(Value::BigInt("9223372036854775808".into())).is_err());
}

/// As deep as a message may be by default and deeper, on the stack that a worker of tokio's has.
#[test]
fn deep_data_does_not_exhaust_the_stack() {
    let deep = |levels| {
        (0..levels).fold(Value::from("Nothing"), |inner, _| {
            Value::object([("Tree", Value::Array(vec![inner]))])
        })
    };
    let run = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        let (fits, error) = (
            from_value::<Shape>(deep(127)),
            from_value::<Shape>(deep(1000)).unwrap_err(),
        );
        (fits.is_ok(), error.message())
    });
    let (fits, text) = run.unwrap().join().unwrap();
    assert!(fits && text.contains("nested deeper than 256 levels"), "{text}");
}

#[test]
fn capabilities_pass_through_what_serde_buffers() {
    #[derive(Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        Call { back: Stub, at: Date },
    }
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(u32),
        When(Date),
        Stub(Stub),
    }
    #[derive(Serialize, Deserialize)]
    struct Flat {
        #[serde(flatten)]
        rest: BTreeMap<String, Any>,
    }
    let stub = Stub::function(|_: Vec<Value>| Value::Null);
    let tagged = Tagged::Call {
        back: stub.clone(),
        at: Date(None),
    };
    let value = to_value(&tagged).unwrap();
    assert!(matches!(value.member("back"), Some(Value::Capability(_))));
    let Tagged::Call { at, .. } = from_value(value).unwrap();
    assert_eq!(at, Date(None));
    let value = to_value(&Untagged::Stub(stub)).unwrap();
    assert!(matches!(from_value(value).unwrap(), Untagged::Stub(_)));
    assert!(matches!(
        from_value(Value::Number(3.0)).unwrap(),
        Untagged::Number(3)
    ));
    assert!(matches!(
        from_value(Value::Date(None)).unwrap(),
        Untagged::When(_)
    ));
    // A number is no capability, whichever it is.
    for digits in ["9223372036854775808", "9223372036854775809", "0"] {
        assert!(!matches!(
            from_value::<Untagged>(Value::BigInt(digits.into())),
            Ok(Untagged::Stub(_) | Untagged::When(_))
        ));
    }
    let value = Value::object([("a", Value::Date(None))]);
    let flat: Flat = from_value(value.clone()).unwrap();
    assert_eq!(to_value(&flat).unwrap(), value);
}

fn shapes() -> impl Strategy<Value = Shape> {
    let number = any::<i32>().prop_map(f64::from);
    let leaf = prop_oneof![
        Just(Shape::Nothing),
        number.prop_map(Shape::Circle),
        (
            any::<f32>().prop_filter("NaN equals nothing", |n| !n.is_nan()),
            any::<i16>()
        )
            .prop_map(|(a, b)| Shape::Line(a.into(), b.into())),
        (any::<i8>(), any::<Option<u8>>()).prop_map(|(width, height)| Shape::Box {
            width: width.into(),
            height: height.map(f64::from)
        }),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop::collection::vec(inner, 0..4).prop_map(Shape::Tree)
    })
}

type Everything = (
    Option<i64>,
    Vec<u64>,
    HashMap<i32, String>,
    BTreeMap<u64, i128>,
    Shape,
    Result<char, bool>,
);

proptest! {
    #[test]
    fn whatever_goes_comes_back(
        integer in any::<Option<i64>>(), integers in any::<Vec<u64>>(), map in any::<HashMap<i32, String>>(),
        wide in any::<BTreeMap<u64, i128>>(), shape in shapes(), either in any::<Result<char, bool>>(),
    ) {
        let data: Everything = (integer, integers, map, wide, shape, either);
        let value = to_value(&data).unwrap();
        prop_assert_eq!(from_value::<Everything>(value).unwrap(), data);
    }
}
