//! The session by its messages. Targets are numbers.

use proptest::prelude::*;

use super::*;

type S = Session<u32>;
type V = Value<Capability<u32>>;

fn session() -> S {
    Session::new(0, Limits::default())
}

fn sent(session: &mut S) -> Vec<String> {
    std::iter::from_fn(|| session.poll_message()).collect()
}

fn calls(session: &mut S) -> Vec<(CallId, u32, String, Vec<V>)> {
    std::iter::from_fn(|| session.poll_event())
        .filter_map(|event| match event {
            Event::Call {
                call,
                target,
                method,
                args,
                ..
            } => Some((call, target, method.into_string(), args)),
            _ => None,
        })
        .collect()
}

#[test]
fn a_call_is_answered_when_pulled_and_forgotten_when_released() {
    let mut s = session();
    s.handle_message(r#"["push",["pipeline",0,["add"],[1,[["x"]]]]]"#)
        .unwrap();
    let calls = calls(&mut s);
    let [(call, 0, name, args)] = calls.as_slice() else {
        panic!("{calls:?}")
    };
    assert_eq!(
        (name.as_str(), args.as_slice()),
        ("add", &[V::Number(1.0), V::Array(vec!["x".into()])][..])
    );
    s.answer(*call, Ok(V::Object(vec![("n".into(), V::Undefined)])));
    assert!(sent(&mut s).is_empty(), "nothing is answered unless pulled");
    s.handle_message(r#"["pull",1]"#).unwrap();
    s.handle_message(r#"["pull",1]"#).unwrap();
    assert_eq!(sent(&mut s), [r#"["resolve",1,{"n":["undefined"]}]"#]);
    assert_eq!(
        s.stats(),
        Stats {
            exports: 2,
            imports: 1,
            promises: 1
        }
    );
    s.handle_message(r#"["release",1,1]"#).unwrap();
    assert_eq!(
        s.stats(),
        Stats {
            exports: 1,
            imports: 1,
            promises: 0
        }
    );
}

#[test]
fn an_object_does_not_depend_on_the_one_before_it() {
    let objects = [
        r#"{"a":1,"b":2}"#,
        r#"{"a":3,"\u0062":4}"#,
        r#"{"b":5,"__proto__":6,"a":7}"#,
        r#"{"b":8,"a":9,"a":10}"#,
        r#"{"a":{"b":11},"c":12,"toJSON":13}"#,
        r#"{"a":{"c":14},"c":[["x"]]}"#,
        r#"{}"#,
        r#"{"a name of more than twenty-four bytes":15}"#,
        r#"{"a name of more than twenty-four bytes":16,"a":17}"#,
    ];
    let argument = |text: &str| {
        let mut s = session();
        s.handle_message(&format!(r#"["push",["pipeline",0,["f"],[{text}]]]"#))
            .unwrap();
        calls(&mut s).remove(0).3.remove(0)
    };
    for one in objects {
        for other in objects {
            let both = V::Array(vec![argument(one), argument(other)]);
            assert_eq!(argument(&format!("[[{one},{other}]]")), both);
        }
    }
}

#[test]
fn calls_on_unsettled_results_keep_their_order() {
    let mut s = session();
    for message in [
        r#"["push",["pipeline",0,["get"],[]]]"#,
        r#"["push",["pipeline",1,["a"],[1]]]"#,
        r#"["push",["pipeline",1,["x","b"],[["pipeline",1,["n"]]]]]"#,
        r#"["push",["pipeline",1,["n"]]]"#,
        r#"["pull",4]"#,
    ] {
        s.handle_message(message).unwrap();
    }
    let first = calls(&mut s);
    assert_eq!(first.len(), 1);
    let target = |id| V::Capability(Capability::Target(id));
    s.answer(
        first[0].0,
        Ok(V::Object(vec![
            ("a".into(), target(7)),
            ("x".into(), target(8)),
            ("n".into(), V::Number(5.0)),
        ])),
    );
    let then: Vec<_> = calls(&mut s)
        .into_iter()
        .map(|(_, target, path, args)| (target, path, args))
        .collect();
    assert_eq!(
        then,
        [
            (7, String::new(), vec![V::Number(1.0)]),
            (8, "b".into(), vec![V::Number(5.0)])
        ]
    );
    assert_eq!(sent(&mut s), [r#"["resolve",4,5]"#]);
}

#[test]
fn a_very_long_chain_costs_no_stack() {
    let mut s = session();
    s.handle_message(r#"["push",["pipeline",0,["get"],[]]]"#).unwrap();
    let limit = Limits::default().max_operations;
    for id in 1..limit - 1 {
        s.handle_message(&format!(r#"["push",["pipeline",{id},["x"]]]"#))
            .unwrap();
    }
    s.handle_message(&format!(r#"["pull",{}]"#, limit - 1)).unwrap();
    let call = calls(&mut s)[0].0;
    s.answer(call, Err(V::error("Error", "no")));
    assert_eq!(
        sent(&mut s),
        [format!(r#"["reject",{},["error","Error","no"]]"#, limit - 1)]
    );
}

#[test]
fn errors_carry_props_and_unknown_methods_say_so() {
    let mut s = session();
    for message in [
        r#"["push",["pipeline",0,["send"],[]]]"#,
        r#"["push",["pipeline",1,["then"],[]]]"#,
        r#"["push",["pipeline",0,["constructor"],[]]]"#,
        r#"["push",["pipeline",0,["__proto__","x"]]]"#,
    ] {
        s.handle_message(message).unwrap();
    }
    let call = calls(&mut s)[0].0;
    s.answer(
        call,
        Err(V::Error(Box::new(
            ErrorValue::new("Error", "m").with("code", "E_X".into()),
        ))),
    );
    for id in 1..=4 {
        s.handle_message(&format!(r#"["pull",{id}]"#)).unwrap();
    }
    assert_eq!(
        sent(&mut s),
        [
            r#"["reject",1,["error","Error","m",null,{"code":"E_X"}]]"#,
            r#"["reject",2,["error","Error","m",null,{"code":"E_X"}]]"#,
            r#"["reject",3,["error","TypeError","'constructor' is not a function."]]"#,
            r#"["reject",4,["error","TypeError","Cannot read properties of undefined (reading 'x')"]]"#,
        ]
    );
}

#[test]
fn stream_writes_are_acknowledged_when_read() {
    let mut s = session();
    for message in [
        r#"["pipe"]"#,
        r#"["push",["pipeline",0,["send"],[{"raw":["readable",1]}]]]"#,
        r#"["stream",["pipeline",1,["write"],["ab"]]]"#,
        r#"["stream",["pipeline",1,["write"],[["bytes","AQI"]]]]"#,
        r#"["stream",["pipeline",1,["close"],[]]]"#,
    ] {
        s.handle_message(message).unwrap();
    }
    let calls = calls(&mut s);
    let Some(V::Capability(Capability::Readable(pipe))) = calls[0].3[0].member("raw") else {
        panic!("{calls:?}")
    };
    assert!(sent(&mut s).is_empty(), "not before it is read");
    assert_eq!(s.read_pipe(*pipe), Some(PipeItem::Chunk("ab".into())));
    assert_eq!(sent(&mut s), [r#"["resolve",3,["undefined"]]"#]);
    assert_eq!(
        s.read_pipe(*pipe),
        Some(PipeItem::Chunk(V::Bytes(vec![1, 2], Default::default())))
    );
    assert_eq!(s.read_pipe(*pipe), Some(PipeItem::End));
    assert_eq!(s.read_pipe(*pipe), None);
    assert_eq!(
        sent(&mut s),
        [r#"["resolve",4,["undefined"]]"#, r#"["resolve",5,["undefined"]]"#]
    );
    s.handle_message(r#"["release",1,1]"#).unwrap();
    s.cancel_pipe(*pipe, &V::error("Error", "done"));
    s.answer(calls[0].0, Ok(V::Undefined));
    s.handle_message(r#"["release",2,1]"#).unwrap();
    assert_eq!(
        (s.stats(), s.pipes.len(), s.queued_bytes),
        (
            Stats {
                exports: 1,
                imports: 1,
                promises: 0
            },
            0,
            0
        )
    );
}

#[test]
fn an_unread_stream_rejects_its_writes() {
    let mut s = session();
    s.handle_message(r#"["pipe"]"#).unwrap();
    s.handle_message(r#"["push",["pipeline",0,["send"],[["readable",1]]]]"#)
        .unwrap();
    s.handle_message(r#"["stream",["pipeline",1,["write"],["x"]]]"#)
        .unwrap();
    s.cancel_pipe(PipeId(1), &V::error("Error", "unread"));
    s.handle_message(r#"["stream",["pipeline",1,["write"],["y"]]]"#)
        .unwrap();
    assert_eq!(
        sent(&mut s),
        [
            r#"["reject",3,["error","Error","unread"]]"#,
            r#"["reject",4,["error","Error","unread"]]"#
        ]
    );
}

#[test]
fn a_peers_stub_is_counted_and_released_once() {
    let mut s = session();
    s.handle_message(
        r#"["push",["pipeline",0,["f"],[["export",-1],["export",-1],{"toJSON":["export",-2]}]]]"#,
    )
    .unwrap();
    // Nobody sees what is under a refused name, so it is released at once.
    assert_eq!(sent(&mut s), [r#"["release",-2,1]"#]);
    let calls = calls(&mut s);
    let V::Capability(Capability::Stub(stub)) = calls[0].3[0] else {
        panic!("{calls:?}")
    };
    let call = s.call(Subject::Stub(stub), &[], Some(vec!["hi".into()]));
    s.pull(call);
    assert_eq!(
        sent(&mut s),
        [r#"["push",["pipeline",-1,[],["hi"]]]"#, r#"["pull",1]"#]
    );
    s.handle_message(r#"["resolve",1,["promise",-3]]"#).unwrap();
    assert_eq!(sent(&mut s), [r#"["release",1,1]"#]);
    assert!(s.poll_event().is_none(), "its promise has not arrived");
    s.handle_message(r#"["resolve",-3,true]"#).unwrap();
    assert_eq!(
        s.poll_event(),
        Some(Event::Settled {
            promise: call,
            result: Ok(V::Bool(true))
        })
    );
    s.release(stub);
    s.release(stub);
    assert_eq!(sent(&mut s), [r#"["release",-3,1]"#, r#"["release",-1,2]"#]);
    assert_eq!(s.stats().imports, 1);
}

#[test]
fn what_no_honest_peer_sends_ends_the_session() {
    for (message, says) in [
        ("", "expected"),
        ("{}", "bad RPC message: {}"),
        (r#"["hello"]"#, r#"bad RPC message: ["hello"]"#),
        (r#"["pull","1"]"#, "bad RPC message"),
        (r#"["release",0,-1]"#, "bad RPC message"),
        (r#"["release",0,2]"#, "refcount would go negative: 1 < 2"),
        (r#"["pull",9]"#, "no such export ID: 9"),
        (
            r#"["push",["pipeline",9,["x"]]]"#,
            "no such entry on exports table: 9",
        ),
        (r#"["push",[]]"#, "unknown special value: []"),
        (r#"["push",["undefined",1]]"#, "unknown special value"),
        (r#"["push",["pipeline",0,[true]]]"#, "unknown special value"),
        (r#"["push",["pipeline",0,["a"],{}]]"#, "unknown special value"),
        (r#"["push",["readable",1]]"#, "not a pipe"),
        (r#"["push",["bytes","AQI","Int16"]]"#, "Unknown bytes type marker"),
        (
            r#"["push",["bytes","AQID","Int16Array"]]"#,
            "Invalid byte length 3 for Int16Array; expected a multiple of 2",
        ),
        (r#"["push",["bigint","1x"]]"#, "BigInt"),
        (r#"["push",["remap",0,[],[]]]"#, "unknown special value"),
        (
            r#"["push",["remap",0,[],[["pipeline",0]],[1]]]"#,
            r#"unknown map capture: ["pipeline",0]"#,
        ),
        (r#"["resolve",77,["nonsense"]]"#, "unknown special value"),
    ] {
        let mut s = session();
        let error = s.handle_message(message).unwrap_err().to_string();
        assert!(error.contains(says), "{message}: {error}");
        let abort = sent(&mut s);
        assert!(
            abort.len() == 1 && abort[0].starts_with(r#"["abort",["error","#),
            "{abort:?}"
        );
        assert!(s.is_ended() && s.handle_message("[]").is_err());
    }
}

#[test]
fn limits_say_no() {
    let limits = Limits {
        max_depth: 4,
        max_message_size: 200,
        max_bigint_digits: 3,
        max_exports: 3,
        max_queued_bytes: 100,
        ..Limits::default()
    };
    let s = || Session::new(0u32, limits);
    let long = format!(r#"["push","{}"]"#, "é".repeat(200));
    assert_eq!(s().handle_message(&long), Err(ProtocolError::MessageTooLong(200)));
    assert_eq!(
        s().handle_message(r#"["push",["bigint","1234"]]"#),
        Err(ProtocolError::BigIntTooLong(3))
    );
    assert!(s().handle_message(r#"["push",[[[[[[1]]]]]]]"#).is_ok());
    assert_eq!(
        s().handle_message(r#"["push",[[[[[[[[1]]]]]]]]]"#),
        Err(ProtocolError::TooDeep(4))
    );
    assert_eq!(
        s().handle_message(&format!("[{}", "[".repeat(150))),
        Err(ProtocolError::TooDeep(4))
    );
    let mut many = s();
    assert!(
        (0..3)
            .map(|_| many.handle_message(r#"["push",1]"#))
            .any(|result| matches!(result, Err(ProtocolError::TooMany { .. })))
    );
    let mut stream = s();
    stream.handle_message(r#"["pipe"]"#).unwrap();
    let write = r#"["stream",["pipeline",1,["write"],["0123456789"]]]"#;
    stream.handle_message(write).unwrap();
    let second = stream.handle_message(write);
    assert!(second.and_then(|()| stream.handle_message(write)).is_err());
}

#[test]
fn encoding_that_fails_half_way_takes_exports_back() {
    let mut s = session();
    s.handle_message(r#"["push",["pipeline",0,["f"],[]]]"#).unwrap();
    s.handle_message(r#"["pull",1]"#).unwrap();
    let call = calls(&mut s)[0].0;
    let pipe = V::Capability(Capability::Readable(PipeId(5)));
    s.answer(
        call,
        Ok(V::Array(vec![V::Capability(Capability::Target(3)), pipe])),
    );
    assert_eq!(
        sent(&mut s),
        [
            r#"["reject",1,["error","TypeError","Cannot serialize value: a stream that the peer sends; read it and send another"]]"#
        ]
    );
    assert_eq!(s.stats().exports, 2);
}

proptest! {
    /// Whatever a peer sends, in whatever order, the session neither panics nor grows past its limits.
    #[test]
    fn no_messages_panic(messages in prop::collection::vec(prop_oneof![
        r#"\["(push|stream)",\["pipeline",[0-4],\["(a|write|close)"\](,\[(1|\["readable",[0-3]\]|\["promise",-[1-3]\]|\["pipeline",[0-4],\["x"\]\])\])?\]\]"#,
        r#"\["(pull|release)",[0-5](,1)?\]"#,
        r#"\["(resolve|reject)",-?[0-3],(1|\["export",-[1-3]\]|\["promise",-[1-3]\])\]"#,
        Just(r#"["pipe"]"#.to_owned()),
        any::<String>(),
    ], 0..40)) {
        let mut s = session();
        for message in messages {
            if s.handle_message(&message).is_err() {
                break;
            }
            while let Some(event) = s.poll_event() {
                if let Event::Call { call, .. } = event {
                    s.answer(call, Ok(V::Object(vec![("x".into(), V::Capability(Capability::Target(1)))])));
                }
            }
        }
        prop_assert!(s.stats().exports < 200);
    }
}
