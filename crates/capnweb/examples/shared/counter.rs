//! A counter, as both test programs offer one.

use std::sync::Mutex;

use capnweb::{Answer, Call, Target, Value};

/// Counts up from where it starts.
pub(crate) struct Counter(Mutex<f64>);

impl Counter {
    /// A counter at `start`.
    pub(crate) fn new(start: f64) -> Self {
        Self(Mutex::new(start))
    }

    fn add(&self, amount: f64) -> f64 {
        let mut value = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        *value += amount;
        *value
    }
}

impl Target for Counter {
    fn call(&self, mut call: Call) -> Answer {
        match call.method.as_str() {
            "increment" => Value::from(self.add(call.take(0).as_f64().unwrap_or(1.0))).into(),
            _ => Answer::error(call.not_a_function()),
        }
    }

    fn get(&self, name: &str) -> Answer {
        match name {
            "value" => Value::from(self.add(0.0)).into(),
            _ => Value::Undefined.into(),
        }
    }

    fn methods(&self) -> &[&str] {
        &["increment"]
    }
}
