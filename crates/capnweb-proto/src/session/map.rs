//! Replaying a peer's `map()`.

use std::sync::Arc;

use super::Session;
use super::capability::{Capability, PromiseId};
use super::operation::{Action, From, Operation};
use crate::expression::{Decode, decode};
use crate::json::{Node, Tape};
use crate::{Limits, PathKey, ProtocolError, Value};

/// Maps inside maps, which cost stack.
const MAX_NESTING: usize = 32;

/// What a map does to each element.
#[derive(Debug, Clone)]
pub(super) struct Body<T> {
    /// Own references.
    pub(super) captures: Vec<Value<Capability<T>>>,
    /// An array of expressions.
    pub(super) instructions: Arc<Tape<'static>>,
}

impl<T: Clone> Session<T> {
    /// Maps a value, which it takes over together with the captures.
    pub(super) fn run_map(&mut self, result: PromiseId, value: Value<Capability<T>>, body: Body<T>) {
        if self.map_depth >= MAX_NESTING {
            self.discard(Value::Array(body.captures));
            self.discard(value);
            let error = Value::error("RangeError", format!("maps are nested deeper than {MAX_NESTING}"));
            return self.settle(result, Err(error));
        }
        self.map_depth += 1;
        let outcome = match value {
            Value::Undefined | Value::Null => Ok(value),
            Value::Array(items) => {
                // Elements do not wait for each other.
                let mut mapped = Vec::with_capacity(items.len());
                let mut items = items.into_iter();
                let mut failed = None;
                for item in items.by_ref() {
                    match self.map_one(item, &body) {
                        Ok(value) => mapped.push(value),
                        Err(error) => {
                            failed = Some(error);
                            break;
                        }
                    }
                }
                match failed {
                    None => Ok(Value::Array(mapped)),
                    Some(error) => {
                        self.discard(Value::Array(items.collect()));
                        self.discard(Value::Array(mapped));
                        Err(error)
                    }
                }
            }
            value => self.map_one(value, &body),
        };
        self.discard(Value::Array(body.captures));
        self.map_depth -= 1;
        self.settle(result, outcome);
    }

    fn map_one(
        &mut self,
        input: Value<Capability<T>>,
        body: &Body<T>,
    ) -> Result<Value<Capability<T>>, Value<Capability<T>>> {
        let mut variables = vec![input];
        let mut fault = None;
        for instruction in body.instructions.root().items() {
            let limits = Limits::default();
            let mut decoder = MapDecoder {
                session: self,
                captures: &body.captures,
                variables: &variables,
            };
            match decode(instruction, 0, &limits, &mut decoder) {
                Ok(value) => variables.push(value),
                Err(error) => {
                    fault = Some(error);
                    break;
                }
            }
        }
        let last = if variables.len() > 1 {
            variables.pop()
        } else {
            None
        };
        self.discard(Value::Array(variables));
        match (fault, last) {
            (None, Some(value)) => Ok(value),
            (None, None) => Err(Value::error("Error", "Invalid empty mapper function.")),
            (Some(error), last) => {
                self.discard(last.unwrap_or(Value::Undefined));
                Err(Value::error(error.class(), error.to_string()))
            }
        }
    }
}

/// Ids inside a map: 0 is the input, positive ones are earlier instructions, negative ones captures.
struct MapDecoder<'a, T> {
    session: &'a mut Session<T>,
    captures: &'a [Value<Capability<T>>],
    variables: &'a [Value<Capability<T>>],
}

impl<'a, T: Clone> MapDecoder<'a, T> {
    fn subject(&self, id: i64) -> Result<&'a Value<Capability<T>>, ProtocolError> {
        let (list, index) = if id < 0 {
            (self.captures, id.checked_neg().map_or(0, |id| id - 1))
        } else {
            (self.variables, id)
        };
        usize::try_from(index)
            .ok()
            .and_then(|index| list.get(index))
            .ok_or_else(|| ProtocolError::NoSuchEntry(id.to_string()))
    }

    fn run(
        &mut self,
        id: i64,
        path: Vec<PathKey>,
        action: Action<T>,
    ) -> Result<Value<Capability<T>>, ProtocolError> {
        let subject = self.subject(id)?;
        if let (Action::Get, true) = (&action, path.is_empty()) {
            return Ok(self.session.copy(subject));
        }
        self.session.map_step()?;
        let result = self.session.promises.pending();
        let operation = Operation {
            result,
            path,
            followed: Vec::new(),
            action,
            size: 0,
        };
        if let Value::Capability(Capability::Promise(promise)) = subject {
            self.session.start(From::Promise(*promise), operation);
        } else {
            self.session.on_value(subject, operation);
        }
        Ok(Value::Capability(Capability::Promise(result)))
    }
}

const NO_EXPORTS: ProtocolError = ProtocolError::NotInMap("A mapper function cannot refer to exports.");

impl<T: Clone> Decode<Capability<T>> for MapDecoder<'_, T> {
    fn knows(&self, id: i64) -> bool {
        self.subject(id).is_ok()
    }

    fn stub(&mut self, _: i64) -> Result<Value<Capability<T>>, ProtocolError> {
        Err(NO_EXPORTS)
    }

    fn writable(&mut self, _: i64) -> Result<Value<Capability<T>>, ProtocolError> {
        Err(NO_EXPORTS)
    }

    fn promise(&mut self, _: i64) -> Result<Value<Capability<T>>, ProtocolError> {
        Err(NO_EXPORTS)
    }

    fn readable(&mut self, _: i64) -> Result<Value<Capability<T>>, ProtocolError> {
        Err(ProtocolError::NotInMap(
            "A mapper function cannot use pipe readables.",
        ))
    }

    fn own(
        &mut self,
        _: bool,
        id: i64,
        path: Vec<PathKey>,
        args: Option<Vec<Value<Capability<T>>>>,
    ) -> Result<Value<Capability<T>>, ProtocolError> {
        self.run(id, path, args.map_or(Action::Get, Action::Call))
    }

    fn remap(
        &mut self,
        id: i64,
        path: Vec<PathKey>,
        captures: Vec<Value<Capability<T>>>,
        instructions: Node<'_>,
    ) -> Result<Value<Capability<T>>, ProtocolError> {
        self.run(
            id,
            path,
            Action::Map(Body {
                captures,
                instructions: Arc::new(instructions.to_tape()),
            }),
        )
    }

    fn blob(
        &mut self,
        _: String,
        content: Value<Capability<T>>,
    ) -> Result<Value<Capability<T>>, ProtocolError> {
        self.discard(content);
        Err(ProtocolError::NotInMap(
            "A mapper function cannot use pipe readables.",
        ))
    }

    fn is_stream(&self, value: &Value<Capability<T>>) -> bool {
        matches!(value, Value::Capability(Capability::Readable(_)))
    }

    fn discard(&mut self, value: Value<Capability<T>>) {
        self.session.discard(value);
    }
}
