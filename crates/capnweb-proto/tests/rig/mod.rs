//! Two sessions joined by queues. Bytes decide what either end does next and which message is delivered when; what
//! comes of it is compared with a model, and at the end nothing may be left on either side.

#[allow(dead_code, reason = "each test uses its part")]
pub(crate) mod entries;
mod model;

use std::collections::{HashMap, VecDeque};

use capnweb_proto::{
    CallId, Capability, Event, ImportId, Limits, PathKey, PipeId, PipeItem, PromiseId, Session, Subject,
    Value,
};
use model::Expect;

type V = Value<Capability<u32>>;

/// Sinks are targets from here on.
const SINKS: u32 = 1_000_000;

#[derive(Default)]
struct Stream {
    /// The end that writes.
    from: usize,
    writer: Option<ImportId>,
    sent: u32,
    closed: bool,
    aborted: bool,
    reader: Option<PipeId>,
    received: u32,
    read_to_the_end: bool,
}

struct End {
    session: Session<u32>,
    inbox: VecDeque<String>,
    promises: Vec<(PromiseId, Expect)>,
    pulled: HashMap<PromiseId, Expect>,
    stubs: Vec<(ImportId, u32)>,
    /// Calls to answer later, with their arguments.
    slow: Vec<(CallId, V)>,
    /// Promises of this end that nothing has settled.
    open: Vec<(PromiseId, Result<f64, String>)>,
    sequence_sent: u32,
    sequence_received: u32,
}

pub(crate) struct Rig<'a> {
    input: &'a [u8],
    ends: [End; 2],
    streams: Vec<Stream>,
    next_target: u32,
    ended: bool,
}

fn key(name: &str) -> PathKey {
    PathKey::Name(name.into())
}

impl<'a> Rig<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        let end = || End {
            session: Session::new(0, Limits::default()),
            inbox: VecDeque::new(),
            promises: Vec::new(),
            pulled: HashMap::new(),
            stubs: Vec::new(),
            slow: Vec::new(),
            open: Vec::new(),
            sequence_sent: 0,
            sequence_received: 0,
        };
        Self {
            input,
            ends: [end(), end()],
            streams: Vec::new(),
            next_target: 1,
            ended: false,
        }
    }

    fn byte(&mut self) -> usize {
        match self.input.split_first() {
            Some((first, rest)) => {
                self.input = rest;
                usize::from(*first)
            }
            None => 0,
        }
    }

    /// Plays the input to its end, then takes everything down.
    pub(crate) fn play(mut self) {
        while !self.input.is_empty() && !self.ended {
            let choice = self.byte();
            let end = choice & 1;
            match (choice >> 1) % 24 {
                0..=5 => self.deliver(end),
                6..=9 => self.call(end),
                10 => self.get(end),
                11 => self.map(end),
                12 => self.pull(end),
                13 => self.drop_one(end),
                14 => self.release(end),
                15 => self.answer_slow(end),
                16 => self.settle_open(end),
                17 => self.sequence(end),
                18 => self.open_stream(end),
                19 => self.write(),
                20 => self.end_stream(),
                21 => self.read(),
                22 => self.sink(end),
                _ => match self.byte() {
                    0..4 => self.end_session(end),
                    4..40 => self.cancel(),
                    _ => self.deliver(end),
                },
            }
        }
        if !self.ended {
            self.take_down();
        }
    }

    /// Sends what an end has to send and handles what it has to know.
    fn drain(&mut self, end: usize) {
        loop {
            while let Some(message) = self.ends[end].session.poll_message() {
                self.ends[1 - end].inbox.push_back(message);
            }
            let Some(event) = self.ends[end].session.poll_event() else {
                if self.ends[end].session.has_output() {
                    continue;
                }
                return;
            };
            self.handle(end, event);
        }
    }

    fn deliver(&mut self, end: usize) {
        if let Some(message) = self.ends[end].inbox.pop_front() {
            let handled = self.ends[end].session.handle_message(&message);
            assert!(handled.is_ok() || self.ended, "{message}: {handled:?}");
            self.drain(end);
        }
    }

    fn handle(&mut self, end: usize, event: Event<u32>) {
        match event {
            Event::Call {
                call,
                target,
                method,
                args,
                ..
            } if target >= SINKS => {
                let stream = (target - SINKS) as usize;
                match method.as_str() {
                    "write" => {
                        assert_eq!(args, [V::Number(f64::from(self.streams[stream].received))]);
                        self.streams[stream].received += 1;
                    }
                    "close" => self.streams[stream].read_to_the_end = true,
                    _ => {}
                }
                self.ends[end].session.answer(call, Ok(V::Undefined));
            }
            Event::Call {
                call,
                target,
                method,
                args,
                ..
            } => self.called(end, call, target, &method, args),
            Event::Get { call, target, name } => {
                let value = match name.as_str() {
                    "p" => V::Number(f64::from(target) * 10.0),
                    "me" => V::Capability(Capability::Target(target)),
                    _ => V::Undefined,
                };
                self.ends[end].session.answer(call, Ok(value));
            }
            Event::Settled { promise, result } => {
                let expected = self.ends[end].pulled.remove(&promise);
                let expected = expected.expect("only what was pulled settles");
                match result {
                    Ok(value) => {
                        self.check(end, &value, &expected);
                        self.keep(end, value, &expected);
                    }
                    Err(error) => {
                        let V::Error(error) = error else {
                            panic!("{error:?} for {expected:?}")
                        };
                        let Expect::Error(texts) = &expected else {
                            panic!("{error:?} for {expected:?}")
                        };
                        assert!(
                            texts.iter().any(|text| error.message.contains(text.as_str())),
                            "{error:?} for {texts:?}"
                        );
                    }
                }
            }
            Event::WriterFailed(_, error) => self.give_back(end, &error),
            Event::PipeReadable(_)
            | Event::Opened(..)
            | Event::WriterReady(_)
            | Event::WriterClosed(..)
            | Event::Aborted(_) => {}
        }
    }

    fn called(&mut self, end: usize, call: CallId, target: u32, method: &str, args: Vec<V>) {
        let arg = |index: usize| args.get(index).cloned().unwrap_or(V::Undefined);
        let session = &mut self.ends[end].session;
        let result = match method {
            "" => Ok(V::Number(-f64::from(target))),
            "id" => Ok(V::Number(f64::from(target))),
            "echo" => Ok(V::object([("v", arg(0))])),
            "pair" => Ok(V::Array(vec![arg(0), arg(1)])),
            "make" => Ok(match arg(0) {
                V::Number(number) => V::Capability(Capability::Target(number as u32)),
                _ => V::Undefined,
            }),
            "fail" => Err(V::error("Error", format!("failed {target}"))),
            "slow" => {
                self.ends[end].slow.push((call, V::Array(args)));
                return;
            }
            "relay" => match arg(0) {
                V::Capability(Capability::Stub(stub)) => {
                    let promise = session.call(Subject::Stub(stub), &[key("echo")], Some(vec![arg(1)]));
                    let promised = V::Capability(Capability::Promise(promise));
                    session.answer(call, Ok(promised));
                    session.drop_result(promise);
                    return self.give_back(end, &V::Array(args));
                }
                _ => Ok(V::object([("v", arg(1))])),
            },
            "sequence" => {
                let V::Number(number) = arg(0) else {
                    panic!("{args:?}")
                };
                assert_eq!(
                    number as u32, self.ends[end].sequence_received,
                    "calls keep their order"
                );
                self.ends[end].sequence_received += 1;
                Ok(V::Undefined)
            }
            "take" => {
                let (V::Number(stream), V::Capability(Capability::Readable(pipe))) = (arg(0), arg(1)) else {
                    panic!("{args:?}")
                };
                self.streams[stream as usize].reader = Some(pipe);
                Ok(V::Undefined)
            }
            "sink" => match arg(0) {
                V::Number(stream) => Ok(V::Capability(Capability::Sink(SINKS + stream as u32))),
                _ => Ok(V::Undefined),
            },
            other => Err(V::error("TypeError", format!("'{other}' is not a function."))),
        };
        self.ends[end].session.answer(call, result);
        if method != "take" {
            self.give_back(end, &V::Array(args));
        }
    }

    /// Compares a result with the model.
    fn check(&self, end: usize, value: &V, expected: &Expect) {
        match (value, expected) {
            (V::Undefined, Expect::Undefined) => {}
            (V::Number(number), Expect::Data(data)) => assert_eq!(number, data),
            (V::Capability(Capability::Target(target)), Expect::Target(home, id)) => {
                assert_eq!((end, target), (*home, id));
            }
            (V::Capability(Capability::Stub(_)), Expect::Target(home, _)) => assert_ne!(end, *home),
            (V::Capability(Capability::Writable(_)), Expect::Writable(_)) => {}
            (V::Array(items), Expect::Array(expected)) => {
                assert_eq!(items.len(), expected.len());
                items
                    .iter()
                    .zip(expected)
                    .for_each(|(item, expected)| self.check(end, item, expected));
            }
            (V::Object(members), Expect::Object(expected)) => {
                assert_eq!(members.len(), expected.len());
                for ((name, value), (expected_name, expected)) in members.iter().zip(expected) {
                    assert_eq!(name, expected_name);
                    self.check(end, value, expected);
                }
            }
            _ => panic!("{value:?} for {expected:?}"),
        }
    }

    /// Keeps the stubs of a result for later calls.
    fn keep(&mut self, end: usize, value: V, expected: &Expect) {
        match (value, expected) {
            (V::Capability(Capability::Stub(stub)), Expect::Target(_, id)) => {
                self.ends[end].stubs.push((stub, *id));
            }
            (V::Capability(Capability::Writable(writer)), Expect::Writable(stream)) => {
                // A second handle of a sink is of no use.
                if let Some(known) = self.streams[*stream as usize].writer.replace(writer) {
                    self.streams[*stream as usize].writer = Some(known);
                    self.ends[end].session.release(writer);
                }
            }
            (V::Array(items), Expect::Array(expected)) => {
                for (item, expected) in items.into_iter().zip(expected) {
                    self.keep(end, item, expected);
                }
            }
            (V::Object(members), Expect::Object(expected)) => {
                for ((_, value), (_, expected)) in members.into_iter().zip(expected) {
                    self.keep(end, value, expected);
                }
            }
            _ => {}
        }
    }

    /// Gives up what a value handed out holds.
    fn give_back(&mut self, end: usize, value: &V) {
        let session = &mut self.ends[end].session;
        value.for_each_capability(&mut |capability| match capability {
            Capability::Stub(id) | Capability::Writable(id) => session.release(*id),
            Capability::Readable(pipe) => session.cancel_pipe(*pipe, &V::error("Error", "unread")),
            _ => {}
        });
    }

    fn fresh(&mut self) -> u32 {
        self.next_target += 1;
        self.next_target
    }

    /// Something to call or to pass: with what it is in the model.
    fn subject(&mut self, end: usize) -> (Subject, Expect) {
        let choice = self.byte();
        let this = &self.ends[end];
        match choice % 3 {
            1 if !this.stubs.is_empty() => {
                let (stub, id) = this.stubs[choice / 3 % this.stubs.len()];
                (Subject::Stub(stub), Expect::Target(1 - end, id))
            }
            2 if !this.promises.is_empty() => {
                let (promise, expected) = &this.promises[choice / 3 % this.promises.len()];
                (Subject::Promise(*promise), expected.clone())
            }
            _ => (
                Subject::Stub(this.session.remote_main()),
                Expect::Target(1 - end, 0),
            ),
        }
    }

    fn argument(&mut self, end: usize, depth: usize) -> (V, Expect) {
        match self.byte() % 8 {
            0 | 1 => {
                let number = self.byte() as f64;
                (V::Number(number), Expect::Data(number))
            }
            2 => {
                let id = self.fresh();
                (V::Capability(Capability::Target(id)), Expect::Target(end, id))
            }
            3 | 4 => {
                let (subject, expected) = self.subject(end);
                let capability = match subject {
                    Subject::Stub(stub) => Capability::Stub(stub),
                    Subject::Promise(promise) => Capability::Promise(promise),
                };
                (V::Capability(capability), expected)
            }
            5 => {
                let (subject, expected) = self.subject(end);
                let property = Capability::Property(Box::new((subject, vec![key("p")])));
                (V::Capability(property), expected.get("p"))
            }
            6 if depth < 3 => {
                let (value, expected) = self.argument(end, depth + 1);
                (V::object([("k", value)]), Expect::Object(vec![("k", expected)]))
            }
            _ => {
                // A promise of this end's own, settled at some later time.
                let number = self.byte();
                let result = if number < 200 {
                    Ok(number as f64)
                } else {
                    Err(format!("late {number}"))
                };
                let promise = self.ends[end].session.new_promise();
                let expected = match &result {
                    Ok(number) => Expect::Data(*number),
                    Err(text) => Expect::Error(vec![text.clone()]),
                };
                self.ends[end].open.push((promise, result));
                (V::Capability(Capability::Promise(promise)), expected)
            }
        }
    }

    fn call(&mut self, end: usize) {
        const METHODS: [&str; 8] = ["echo", "pair", "make", "fail", "slow", "relay", "id", ""];
        let (subject, expected) = self.subject(end);
        let through = self.byte();
        let mut method = METHODS[through % 8];
        if through & 8 != 0 && method.is_empty() {
            // What is at the end of a path is called by its name.
            method = "id";
        }
        let mut path = Vec::new();
        let mut at = expected;
        if through & 8 != 0 {
            for name in ["v", "me"].iter().take(1 + usize::from(through & 16 != 0)) {
                path.push(key(name));
                at = at.get(name);
            }
        }
        let (mut args, mut expected) = (Vec::new(), Vec::new());
        for _ in 0..through / 32 % 3 {
            let (value, meaning) = self.argument(end, 0);
            args.push(value);
            expected.push(meaning);
        }
        if method == "make" {
            let id = self.fresh();
            args = vec![V::Number(f64::from(id))];
            expected = vec![Expect::Data(f64::from(id))];
        }
        if !method.is_empty() {
            path.push(key(method));
        }
        let expected = at.call(method, expected).settled();
        let promise = self.ends[end].session.call(subject, &path, Some(args));
        self.ends[end].promises.push((promise, expected));
        self.drain(end);
    }

    fn get(&mut self, end: usize) {
        let (subject, expected) = self.subject(end);
        let name = ["p", "me", "v", "k"][self.byte() % 4];
        let promise = self.ends[end].session.call(subject, &[key(name)], None);
        self.ends[end]
            .promises
            .push((promise, expected.get(name).settled()));
        self.drain(end);
    }

    fn map(&mut self, end: usize) {
        let (subject, expected) = self.subject(end);
        let keep = |element: &Expect| Expect::Object(vec![("m", element.clone())]);
        let (captures, instructions, expected) = match self.byte() % 4 {
            0 => (
                Vec::new(),
                vec![r#"{"m":["pipeline",0]}"#.to_owned()],
                expected.map(&keep),
            ),
            1 => {
                let id = self.fresh();
                let capture = V::Capability(Capability::Target(id));
                let echo = |element: &Expect| Expect::Target(end, id).call("echo", vec![element.clone()]);
                let instruction = r#"["pipeline",-1,["echo"],[["pipeline",0]]]"#.to_owned();
                (vec![capture], vec![instruction], expected.map(&echo))
            }
            2 => (
                Vec::new(),
                vec![
                    r#"["pipeline",0,["p"]]"#.to_owned(),
                    r#"["pipeline",1]"#.to_owned(),
                ],
                expected.map(&|element| element.get("p")),
            ),
            _ => (
                Vec::new(),
                vec![r#"["remap",0,[],[],[{"m":["pipeline",0]}]]"#.to_owned()],
                expected.map(&|element| element.map(&keep)),
            ),
        };
        let promise = self.ends[end].session.map(subject, &[], captures, &instructions);
        self.ends[end].promises.push((promise, expected));
        self.drain(end);
    }

    fn take_promise(&mut self, end: usize) -> Option<(PromiseId, Expect)> {
        let choice = self.byte();
        let promises = &mut self.ends[end].promises;
        (!promises.is_empty()).then(|| {
            let index = choice % promises.len();
            promises.swap_remove(index)
        })
    }

    fn pull(&mut self, end: usize) {
        if let Some((promise, expected)) = self.take_promise(end) {
            self.ends[end].pulled.insert(promise, expected);
            self.ends[end].session.pull(promise);
            self.drain(end);
        }
    }

    fn drop_one(&mut self, end: usize) {
        if let Some((promise, _)) = self.take_promise(end) {
            self.ends[end].session.drop_result(promise);
            self.drain(end);
        }
    }

    fn release(&mut self, end: usize) {
        let choice = self.byte();
        let stubs = &mut self.ends[end].stubs;
        if !stubs.is_empty() {
            let (stub, _) = stubs.swap_remove(choice % stubs.len());
            self.ends[end].session.release(stub);
            self.drain(end);
        }
    }

    fn answer_slow(&mut self, end: usize) {
        let choice = self.byte();
        let slow = &mut self.ends[end].slow;
        if slow.is_empty() {
            return;
        }
        let (call, args) = slow.swap_remove(choice % slow.len());
        let V::Array(items) = &args else { return };
        let first = items.first().cloned().unwrap_or(V::Undefined);
        self.ends[end].session.answer(call, Ok(V::object([("v", first)])));
        self.give_back(end, &args);
        self.drain(end);
    }

    fn settle_open(&mut self, end: usize) {
        let choice = self.byte();
        let open = &mut self.ends[end].open;
        if open.is_empty() {
            return;
        }
        let (promise, result) = open.swap_remove(choice % open.len());
        let result = match result {
            Ok(number) => Ok(V::Number(number)),
            Err(text) => Err(V::error("Error", text)),
        };
        let session = &mut self.ends[end].session;
        session.settle_promise(promise, result);
        session.drop_result(promise);
        self.drain(end);
    }

    /// A call whose place among others of its kind the other end checks.
    fn sequence(&mut self, end: usize) {
        let this = &mut self.ends[end];
        let main = Subject::Stub(this.session.remote_main());
        let number = V::Number(f64::from(this.sequence_sent));
        this.sequence_sent += 1;
        let promise = this.session.call(main, &[key("sequence")], Some(vec![number]));
        this.promises.push((promise, Expect::Undefined));
        self.drain(end);
    }

    fn open_stream(&mut self, end: usize) {
        let index = self.streams.len();
        let this = &mut self.ends[end];
        let writer = this.session.open_pipe();
        let args = vec![V::Number(index as f64), V::Capability(Capability::Pipe(writer))];
        let main = Subject::Stub(this.session.remote_main());
        let promise = this.session.call(main, &[key("take")], Some(args));
        this.promises.push((promise, Expect::Undefined));
        self.streams.push(Stream {
            from: end,
            writer: Some(writer),
            ..Stream::default()
        });
        self.drain(end);
    }

    /// Asks for a sink of the other end.
    fn sink(&mut self, end: usize) {
        let index = self.streams.len() as u32;
        let this = &mut self.ends[end];
        let main = Subject::Stub(this.session.remote_main());
        let args = vec![V::Number(f64::from(index))];
        let promise = this.session.call(main, &[key("sink")], Some(args));
        this.promises.push((promise, Expect::Writable(index)));
        self.streams.push(Stream {
            from: end,
            ..Stream::default()
        });
        self.drain(end);
    }

    fn stream(&mut self) -> Option<usize> {
        let choice = self.byte();
        (!self.streams.is_empty()).then(|| choice % self.streams.len())
    }

    fn write(&mut self) {
        let Some(index) = self.stream() else { return };
        let stream = &mut self.streams[index];
        let (Some(writer), false, false) = (stream.writer, stream.closed, stream.aborted) else {
            return;
        };
        let end = stream.from;
        let chunk = V::Number(f64::from(stream.sent));
        stream.sent += 1;
        assert!(self.ends[end].session.write(writer, chunk).is_ok());
        self.drain(end);
    }

    fn end_stream(&mut self) {
        let Some(index) = self.stream() else { return };
        let well = self.byte() < 128;
        self.end_this(index, well);
    }

    fn end_this(&mut self, index: usize, well: bool) {
        let stream = &mut self.streams[index];
        let (Some(writer), false, false) = (stream.writer, stream.closed, stream.aborted) else {
            return;
        };
        (stream.closed, stream.aborted) = (well, !well);
        let end = stream.from;
        if well {
            self.ends[end].session.close_writer(writer);
        } else {
            self.ends[end]
                .session
                .abort_writer(writer, V::error("Error", "aborted"));
        }
        self.drain(end);
    }

    fn read(&mut self) {
        if let Some(index) = self.stream() {
            self.read_one(index);
        }
    }

    fn read_one(&mut self, index: usize) -> bool {
        let stream = &mut self.streams[index];
        let end = 1 - stream.from;
        let Some(pipe) = stream.reader else { return false };
        let Some(item) = self.ends[end].session.read_pipe(pipe) else {
            return false;
        };
        let stream = &mut self.streams[index];
        match &item {
            PipeItem::Chunk(chunk) => {
                assert_eq!(*chunk, V::Number(f64::from(stream.received)));
                stream.received += 1;
            }
            PipeItem::End => assert!(stream.closed && stream.received == stream.sent),
            PipeItem::Failed(_) => assert!(stream.aborted),
        }
        if !matches!(item, PipeItem::Chunk(_)) {
            stream.reader = None;
            stream.read_to_the_end = true;
            self.ends[end].session.cancel_pipe(pipe, &V::Undefined);
        }
        self.drain(end);
        true
    }

    fn cancel(&mut self) {
        let Some(index) = self.stream() else { return };
        let stream = &mut self.streams[index];
        let end = 1 - stream.from;
        if let Some(pipe) = stream.reader.take() {
            self.ends[end]
                .session
                .cancel_pipe(pipe, &V::error("Error", "enough"));
            self.drain(end);
        }
    }

    /// One end leaves; the other hears of it, or not.
    fn end_session(&mut self, end: usize) {
        self.ended = true;
        let how = self.byte();
        if how & 1 == 0 {
            self.ends[end].session.abort(&V::error("Error", "over"));
            self.drain(end);
        }
        self.ends[end].session.shut_down();
        self.deliver_all();
        self.ends[1 - end].session.shut_down();
        for end in &self.ends {
            let stats = end.session.stats();
            assert_eq!((stats.exports, stats.imports, stats.promises), (0, 0, 0));
        }
    }

    fn deliver_all(&mut self) {
        while self.ends.iter().any(|end| !end.inbox.is_empty()) {
            self.deliver(0);
            self.deliver(1);
        }
    }

    /// Answers, settles and gives back everything: then nothing may be left.
    fn take_down(&mut self) {
        for end in [0, 1] {
            while !self.ends[end].promises.is_empty() {
                self.pull(end);
            }
        }
        let mut quiet = false;
        while !quiet {
            self.deliver_all();
            quiet = true;
            for end in [0, 1] {
                while !self.ends[end].slow.is_empty() {
                    self.answer_slow(end);
                    quiet = false;
                }
                while !self.ends[end].open.is_empty() {
                    self.settle_open(end);
                    quiet = false;
                }
            }
            for index in 0..self.streams.len() {
                self.end_this(index, true);
                while self.read_one(index) {}
            }
            quiet &= self.ends.iter().all(|end| end.inbox.is_empty());
        }
        // Nothing is on its way: what one end exports, the other imports.
        let [one, other] = &self.ends;
        assert_eq!(one.session.stats().exports, other.session.stats().imports);
        assert_eq!(other.session.stats().exports, one.session.stats().imports);
        for (index, stream) in self.streams.iter().enumerate() {
            if stream.closed && stream.reader.is_some() {
                assert!(stream.read_to_the_end, "stream {index}");
            }
        }
        for end in [0, 1] {
            assert!(self.ends[end].pulled.is_empty(), "{:?}", self.ends[end].pulled);
            while !self.ends[end].stubs.is_empty() {
                self.release(end);
            }
        }
        for index in 0..self.streams.len() {
            let end = self.streams[index].from;
            // Of pipes the session gives back its own; a sink is a handle of the application's.
            if let Some(writer) = self.streams[index].writer.take() {
                self.ends[end].session.release(writer);
                self.drain(end);
            }
        }
        self.deliver_all();
        for end in &self.ends {
            let stats = end.session.stats();
            assert_eq!((stats.exports, stats.imports, stats.promises), (1, 1, 0));
        }
        assert_eq!(self.ends[0].sequence_sent, self.ends[1].sequence_received);
        assert_eq!(self.ends[1].sequence_sent, self.ends[0].sequence_received);
    }
}
