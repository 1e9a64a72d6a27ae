//! The interfaces that the tests use, and a server of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use capnweb::kinds::{Bytes, Date};
use capnweb::{Callback, Error, Readable, Writable, interface};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct User {
    pub(crate) id: u32,
    pub(crate) full_name: String,
    pub(crate) nickname: Option<String>,
}

/// What a directory refuses.
#[derive(Debug, PartialEq)]
pub(crate) enum Refusal {
    NoSuchUser { id: u32 },
    Other(String),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoSuchUser { id } => {
                Self::new("NoSuchUser", format!("there is no user {id}")).with("id", &id)
            }
            Refusal::Other(text) => Self::new("Error", text),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match (error.name(), error.prop("id")) {
            ("NoSuchUser", Some(id)) => Self::NoSuchUser { id },
            _ => Self::Other(error.message()),
        }
    }
}

/// People.
#[interface]
pub(crate) trait Directory {
    /// Looks a person up.
    async fn user_by_id(&self, id: u32) -> Result<User, Refusal>;

    /// All ids.
    fn ids(&self) -> Vec<u32>;

    fn greet(&self, user: User, greeting: Option<String>) -> String;

    /// The person's own object.
    async fn log_in(&self, id: u32) -> Result<AccountStub, Refusal>;

    fn remember(&self, account: AccountStub) -> Result<(), Error>;

    async fn remembered_name(&self) -> Result<String, Error>;

    #[rpc(get)]
    fn version(&self) -> String;

    #[rpc(get)]
    async fn root(&self) -> AccountStub;

    #[rpc(name = "theAnswer")]
    fn answer(&self) -> u64 {
        42
    }

    async fn each(&self, from: u32, to: u32, then: Callback<fn(u32) -> u32>) -> Result<u32, Error>;

    fn adder(&self, add: i64) -> Callback<fn(i64) -> i64>;

    fn count_to(&self, end: u32) -> Readable<u32>;

    async fn sum(&self, numbers: Readable<u32>) -> Result<u32, Error>;

    fn collector(&self, each: Callback<fn(u32)>) -> Writable<u32>;

    fn echo_bytes(&self, bytes: Bytes) -> Bytes;

    fn later(&self, date: Date, milliseconds: f64) -> Date;

    fn tally(&self, votes: Vec<String>) -> BTreeMap<String, u64>;

    async fn forever(&self);
}

/// One person's own object.
#[interface]
pub(crate) trait Account {
    async fn name(&self) -> String;
    fn rename(&self, to: String);
    fn session(&self) -> u32;
    fn friends(&self) -> Vec<AccountStub>;
}

#[derive(Default)]
pub(crate) struct Town {
    remembered: std::sync::Mutex<Option<AccountStub>>,
    pub(crate) waiting: Arc<AtomicU32>,
}

pub(crate) struct Person {
    name: std::sync::Mutex<String>,
    id: u32,
}

impl Person {
    fn new(id: u32) -> Self {
        Self {
            name: format!("user {id}").into(),
            id,
        }
    }
}

impl Account for Person {
    async fn name(&self) -> String {
        self.name.lock().expect("no holder panics").clone()
    }

    fn rename(&self, to: String) {
        *self.name.lock().expect("no holder panics") = to;
    }

    fn session(&self) -> u32 {
        self.id * 100
    }

    fn friends(&self) -> Vec<AccountStub> {
        (0..self.id).map(|id| AccountStub::new(Self::new(id))).collect()
    }
}

impl Directory for Town {
    async fn user_by_id(&self, id: u32) -> Result<User, Refusal> {
        tokio::task::yield_now().await;
        if id > 9 {
            return Err(Refusal::NoSuchUser { id });
        }
        Ok(User {
            id,
            full_name: format!("user {id}"),
            nickname: None,
        })
    }

    fn ids(&self) -> Vec<u32> {
        vec![1, 2, 3]
    }

    fn greet(&self, user: User, greeting: Option<String>) -> String {
        format!("{}, {}!", greeting.as_deref().unwrap_or("Hello"), user.full_name)
    }

    async fn log_in(&self, id: u32) -> Result<AccountStub, Refusal> {
        if id > 9 {
            return Err(Refusal::NoSuchUser { id });
        }
        Ok(AccountStub::new(Person::new(id)))
    }

    fn remember(&self, account: AccountStub) -> Result<(), Error> {
        *self.remembered.lock().expect("no holder panics") = Some(account);
        Ok(())
    }

    async fn remembered_name(&self) -> Result<String, Error> {
        let account = self.remembered.lock().expect("no holder panics").take();
        account.ok_or_else(|| Error::new("Error", "nobody"))?.name().await
    }

    fn version(&self) -> String {
        "1.0".into()
    }

    async fn root(&self) -> AccountStub {
        AccountStub::new(Person::new(0))
    }

    async fn each(&self, from: u32, to: u32, then: Callback<fn(u32) -> u32>) -> Result<u32, Error> {
        let mut sum = 0;
        for number in from..to {
            sum += then.call(number).await?;
        }
        Ok(sum)
    }

    fn adder(&self, add: i64) -> Callback<fn(i64) -> i64> {
        Callback::new(move |to: i64| {
            to.checked_add(add)
                .ok_or_else(|| Error::new("RangeError", "too much"))
        })
    }

    fn count_to(&self, end: u32) -> Readable<u32> {
        Readable::new(futures_util::stream::iter((0..end).map(Ok::<_, Error>)))
    }

    async fn sum(&self, mut numbers: Readable<u32>) -> Result<u32, Error> {
        use futures_util::TryStreamExt;
        let mut sum = 0;
        while let Some(number) = numbers.try_next().await? {
            sum += number;
        }
        Ok(sum)
    }

    fn collector(&self, each: Callback<fn(u32)>) -> Writable<u32> {
        let sink = futures_util::sink::unfold(each, async |each, number| {
            each.call(number).await?;
            Ok::<_, Error>(each)
        });
        Writable::new(sink)
    }

    fn echo_bytes(&self, bytes: Bytes) -> Bytes {
        bytes
    }

    fn later(&self, date: Date, milliseconds: f64) -> Date {
        Date(date.0.map(|time| time + milliseconds))
    }

    fn tally(&self, votes: Vec<String>) -> BTreeMap<String, u64> {
        let mut tally = BTreeMap::new();
        for vote in votes {
            *tally.entry(vote).or_default() += 1;
        }
        tally
    }

    async fn forever(&self) {
        struct Leaving(Arc<AtomicU32>);
        impl Drop for Leaving {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _leaving = Leaving(Arc::clone(&self.waiting));
        std::future::pending::<()>().await;
    }
}
