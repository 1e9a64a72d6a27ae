//! Calls, pipelining, references both ways, callbacks, maps, errors, releases.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use capnweb::kinds::{Bytes, Date};
use capnweb::{Callback, Error, Pending, Session, SessionOptions, Value};

use crate::over_pair;
use crate::world::{AccountCalls, AccountStub, DirectoryStub, Refusal, Town, User};

fn directory() -> DirectoryStub {
    over_pair(DirectoryStub::target(Town::default()))
}

/// Waits until only the main objects are held.
async fn idle(session: &Session) {
    let idle = async {
        while session.stats().imports > 1 || session.stats().exports > 1 {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(10), idle).await;
    in_time.unwrap_or_else(|_| panic!("still held: {session:?}"));
}

#[tokio::test]
async fn data_goes_there_and_back() -> Result<(), Error> {
    let directory = directory();
    let user = User {
        id: 7,
        full_name: "Ada".into(),
        nickname: None,
    };
    assert_eq!(directory.greet(&user, None).await?, "Hello, Ada!");
    assert_eq!(
        directory.greet(user, Some("Good day".into())).await?,
        "Good day, Ada!"
    );
    assert_eq!(directory.ids().await?, [1, 2, 3]);
    assert_eq!(directory.version().await?, "1.0");
    assert_eq!(directory.answer().await?, 42);
    assert_eq!(
        directory.untyped().call("theAnswer", []).await?.as_f64(),
        Some(42.0)
    );
    assert_eq!(
        directory.echo_bytes(Bytes(vec![0, 255])).await?,
        Bytes(vec![0, 255])
    );
    assert_eq!(directory.later(Date(Some(1.0)), 2.0).await?, Date(Some(3.0)));
    let tally = directory.tally(vec!["b".into(), "a".into(), "b".into()]).await?;
    assert_eq!(
        tally.into_iter().collect::<Vec<_>>(),
        [("a".into(), 1), ("b".into(), 2)]
    );
    Ok(())
}

#[tokio::test]
async fn errors_keep_their_type() {
    let directory = directory();
    assert_eq!(
        directory.user_by_id(10).await,
        Err(Refusal::NoSuchUser { id: 10 })
    );
    // Also where a call on what is not there fails for it.
    let error = directory.log_in(11).name().await.unwrap_err();
    assert_eq!(error.name(), "NoSuchUser");
    assert_eq!(error.prop::<u32>("id"), Some(11));
}

#[tokio::test]
async fn wrong_arguments_are_named() {
    let directory = directory();
    for (method, args, text) in [
        (
            "userById",
            vec![Value::from("seven")],
            "argument `id` of `userById`: invalid type: string \"seven\", expected u32",
        ),
        (
            "userById",
            vec![Value::from(1.5)],
            "argument `id` of `userById`: invalid value: floating point `1.5`, expected u32",
        ),
        (
            "userById",
            vec![],
            "argument `id` of `userById`: invalid type: undefined, expected u32",
        ),
        (
            "greet",
            vec![Value::object([
                ("id", Value::from("x")),
                ("fullName", "Ada".into()),
            ])],
            "argument `user` of `greet`: at `id`: invalid type: string \"x\", expected u32",
        ),
        (
            "greet",
            vec![Value::object([("id", Value::from(1))])],
            "argument `user` of `greet`: missing field `fullName`",
        ),
        (
            "remember",
            vec![Value::from(1)],
            "argument `account` of `remember`: expected a stub",
        ),
    ] {
        let error = directory.untyped().call(method, args).await.unwrap_err();
        assert_eq!((error.name(), error.message().as_str()), ("TypeError", text));
    }
    let error = directory.untyped().call("nothing", []).await.unwrap_err();
    assert_eq!(error.to_string(), "TypeError: 'nothing' is not a function.");
}

#[tokio::test]
async fn a_result_of_another_type_is_an_error() {
    let directory = directory();
    let wrong: Pending<u32> = Pending::new(directory.untyped().get("version"));
    assert_eq!(
        wrong.await.unwrap_err().to_string(),
        "TypeError: the result: invalid type: string \"1.0\", expected u32"
    );
}

#[tokio::test]
async fn results_are_used_before_they_are_there() -> Result<(), Error> {
    let directory = directory();
    let session = directory.untyped().session().expect("it is the peer's");
    let account = directory.log_in(7);
    account.rename("Grace").await?;
    assert_eq!(account.name().await?, "Grace");
    // As an argument, where its value is expected.
    let user = directory.user_by_id(3);
    assert_eq!(directory.greet(&user, None).await?, "Hello, user 3!");
    assert_eq!(directory.user_by_id(directory.log_in(0).session()).await?.id, 0);
    // A property's methods.
    assert_eq!(directory.root().name().await?, "user 0");
    // A member.
    assert_eq!(user.member::<String>("fullName").await?, "user 3");
    drop((account, user));
    idle(&session).await;
    Ok(())
}

#[tokio::test]
async fn references_go_both_ways_and_are_released() -> Result<(), Error> {
    struct Mine(Arc<AtomicU32>);
    impl crate::world::Account for Mine {
        async fn name(&self) -> String {
            "mine".into()
        }
        fn rename(&self, _: String) {}
        fn session(&self) -> u32 {
            0
        }
        fn friends(&self) -> Vec<AccountStub> {
            Vec::new()
        }
    }
    impl Drop for Mine {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let directory = directory();
    let session = directory.untyped().session().expect("it is the peer's");
    let dropped = Arc::new(AtomicU32::new(0));
    let mine = AccountStub::new(Mine(Arc::clone(&dropped)));
    directory.remember(mine).await?;
    assert_eq!(session.stats().exports, 2);
    assert_eq!(directory.remembered_name().await?, "mine");
    // The other side has let it go.
    idle(&session).await;
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    // The peer's own, home again; and a result that is not there yet.
    let account = directory.log_in(5).await.map_err(Error::from)?;
    directory.remember(&account).await?;
    assert_eq!(directory.remembered_name().await?, "user 5");
    directory.remember(directory.log_in(6)).await?;
    assert_eq!(directory.remembered_name().await?, "user 6");
    drop(account);
    idle(&session).await;
    Ok(())
}

#[tokio::test]
async fn closures_are_called_back() -> Result<(), Error> {
    let directory = directory();
    let session = directory.untyped().session().expect("it is the peer's");
    assert_eq!(directory.each(1, 4, |number: u32| number * 10).await?, 60);
    let later = Callback::later(async |number: u32| {
        tokio::task::yield_now().await;
        number + 1
    });
    assert_eq!(directory.each(0, 3, later).await?, 6);
    // One that fails.
    let failing = |number: u32| match number {
        2 => Err(Error::new("RangeError", "no two")),
        number => Ok(number),
    };
    let error = directory.each(0, 3, failing).await.unwrap_err();
    assert_eq!(error.to_string(), "RangeError: no two");
    // One of the other side's.
    let adder = directory.adder(2).await?;
    assert_eq!(adder.call(40).await?, 42);
    let large = (1_i64 << 53) + 1;
    assert_eq!(adder.call(large).await?, large + 2);
    assert_eq!(adder.call(i64::MAX).await.unwrap_err().name(), "RangeError");
    let error = adder.untyped().invoke([Value::from("x")]).await.unwrap_err();
    assert_eq!(
        error.message(),
        "argument 1 of the callback: invalid type: string \"x\", expected i64"
    );
    drop(adder);
    idle(&session).await;
    Ok(())
}

#[tokio::test]
async fn lists_are_mapped_there() -> Result<(), Error> {
    let directory = directory();
    let session = directory.untyped().session().expect("it is the peer's");
    let users = directory
        .ids()
        .map(|id| (id.clone(), directory.user_by_id(&id)))
        .await?;
    assert_eq!(users.len(), 3);
    assert_eq!((users[2].0, &*users[2].1.full_name), (3, "user 3"));
    let names = directory.log_in(3).friends().map(|friend| friend.name()).await?;
    assert_eq!(names, ["user 0", "user 1", "user 2"]);
    // A failing item fails the map.
    let error = directory
        .ids()
        .map(|id| directory.log_in(id).friends().member::<u32>("x"));
    assert!(error.await.is_err());
    // A stand-in is of no use outside.
    let mut kept = None;
    let ids = directory.ids().map(|id| {
        kept = Some(id.clone());
        id
    });
    assert_eq!(ids.await?, [1, 2, 3]);
    let error = kept.expect("the mapper ran").await.unwrap_err();
    assert!(error.message().contains("outside of its map"), "{error}");
    idle(&session).await;
    Ok(())
}

#[tokio::test]
async fn a_dropped_result_is_released_and_a_dropped_session_ends_its_calls() -> Result<(), Error> {
    let town = Town::default();
    let waiting = Arc::clone(&town.waiting);
    let directory: DirectoryStub = over_pair(DirectoryStub::target(town));
    let session = directory.untyped().session().expect("it is the peer's");
    let call = tokio::time::timeout(Duration::from_millis(20), directory.forever().into_future());
    assert!(call.await.is_err());
    assert_eq!(waiting.load(Ordering::SeqCst), 1);
    // The wait was given up, and its result with it; the call itself runs on, as in JavaScript.
    let ended = async {
        while session.stats().imports > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended)
        .await
        .expect("the result is released");
    let (told, hears) = tokio::sync::oneshot::channel();
    let registration = directory.on_broken(move |error| {
        let _ = told.send(error.is_disconnected());
    });
    let pending = directory.forever();
    session.shut_down();
    assert!(hears.await.expect("the callback runs"));
    assert!(pending.await.unwrap_err().is_disconnected());
    let left = async {
        while waiting.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), left)
        .await
        .expect("the calls are dropped");
    drop(registration);
    Ok(())
}

#[tokio::test]
async fn batches_are_typed_too() -> Result<(), Error> {
    let post = async |body: String| {
        let main = DirectoryStub::target(Town::default());
        let answer =
            capnweb::serve_batch(&body, main, SessionOptions::default(), Duration::from_secs(5)).await;
        answer.map_err(|error| Error::new("Error", error.to_string()))
    };
    let (name, version) = capnweb::batch(SessionOptions::default(), post, async |main| {
        let directory = DirectoryStub::from(main);
        tokio::join!(
            directory.log_in(4).name().into_future(),
            directory.version().into_future()
        )
    })
    .await;
    assert_eq!((name?.as_str(), version?.as_str()), ("user 4", "1.0"));
    Ok(())
}
