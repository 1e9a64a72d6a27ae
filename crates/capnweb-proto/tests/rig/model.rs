//! What calls come to when they are made in one process: the expectation the two ends are held against.

/// What a value is to be. Targets are told apart by the end they live at and their number.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expect {
    Undefined,
    Data(f64),
    Target(usize, u32),
    Writable(u32),
    Array(Vec<Self>),
    Object(Vec<(&'static str, Self)>),
    /// Rejected, with one of these texts in its message: of several promises, whichever is rejected first decides.
    Error(Vec<String>),
}

use Expect::{Array, Data, Error, Object, Target, Undefined};

/// Every target has these: methods `id`, `echo`, `pair`, `make`, `fail`, `slow`, `relay`, and properties `p` and `me`.
impl Expect {
    fn errors(&self, found: &mut Vec<String>) {
        match self {
            Error(texts) => found.extend_from_slice(texts),
            Array(items) => items.iter().for_each(|item| item.errors(found)),
            Object(members) => members.iter().for_each(|(_, value)| value.errors(found)),
            _ => {}
        }
    }

    /// The value, or the errors among what it is made of.
    pub(crate) fn settled(self) -> Self {
        let mut errors = Vec::new();
        self.errors(&mut errors);
        if errors.is_empty() { self } else { Error(errors) }
    }

    pub(crate) fn get(&self, key: &str) -> Self {
        match self {
            Error(texts) => Error(texts.clone()),
            Undefined => Error(vec!["Cannot read properties of undefined".into()]),
            Object(members) => members
                .iter()
                .find(|(name, _)| *name == key)
                .map_or(Undefined, |(_, value)| value.clone()),
            Target(_, id) if key == "p" => Data(f64::from(*id) * 10.0),
            Target(end, id) if key == "me" => Target(*end, *id),
            _ => Undefined,
        }
    }

    /// Calls a method; without a name, the value itself.
    pub(crate) fn call(&self, method: &str, args: Vec<Self>) -> Self {
        let (end, id) = match self {
            Error(texts) => return Error(texts.clone()),
            Target(end, id) => (*end, *id),
            other => {
                // A target is asked for a method when its arguments are there, so theirs may be the error.
                let mut texts = vec!["is not a function".to_owned()];
                if *other == Undefined && !method.is_empty() {
                    texts[0] = "Cannot read properties of undefined".into();
                }
                Array(args).errors(&mut texts);
                return Error(texts);
            }
        };
        let args = match Array(args).settled() {
            Array(args) => args,
            errors => return errors,
        };
        let arg = |index: usize| args.get(index).cloned().unwrap_or(Undefined);
        match method {
            "" => Data(-f64::from(id)),
            "id" => Data(f64::from(id)),
            "echo" | "slow" => Object(vec![("v", arg(0))]),
            "pair" => Array(vec![arg(0), arg(1)]),
            "make" => match arg(0) {
                Data(number) => Target(end, number as u32),
                _ => Undefined,
            },
            "fail" => Error(vec![format!("failed {id}")]),
            "relay" => match arg(0) {
                Target(..) => arg(0).call("echo", vec![arg(1)]),
                _ => Object(vec![("v", arg(1))]),
            },
            _ => Undefined,
        }
    }

    pub(crate) fn map(&self, each: &impl Fn(&Self) -> Self) -> Self {
        match self {
            Error(texts) => Error(texts.clone()),
            Undefined => Undefined,
            Array(items) => Array(items.iter().map(each).collect()).settled(),
            other => each(other).settled(),
        }
    }
}
