//! The client's side: every feature once. It prints what it sees.

use std::time::Duration;

use capnweb::{Error, ReadableStream};
use futures_util::{SinkExt, TryStreamExt};
use tokio::sync::mpsc;

use crate::api::{Change, Note, NotebookStub, Refused, ShelfCalls, ShelfStub};

fn note(title: &str) -> Note {
    Note {
        title: title.into(),
        tags: vec!["new".into()],
        stars: None,
    }
}

pub(crate) async fn run(notebook: &NotebookStub) -> Result<(), Error> {
    println!("version {}", notebook.version().await?);

    // One round trip: the shelf is used before it is there, and so is the number of the note.
    let shelf = notebook.open_shelf("Ada");
    let first = shelf.add(note("one"));
    println!("first {:?}", shelf.note(&first).await.map_err(Error::from)?);
    println!("number {}", first.await?);
    let shelf: ShelfStub = shelf.await?;

    // Errors keep their type.
    match shelf.note(7).await {
        Err(Refused::NoSuchNote { id }) => println!("no note {id}"),
        other => println!("unexpected: {other:?}"),
    }
    if let Err(error) = notebook.open_shelf("").add(note("lost")).await {
        println!("refused: {error}");
    }

    // A closure of ours, called from there.
    let (changes, mut seen) = mpsc::unbounded_channel();
    shelf
        .watch(move |change: Change| {
            // Whoever listened may be gone.
            let _ = changes.send(change);
        })
        .await?;
    shelf.add(note("two")).await?;
    println!("watched {:?}", seen.recv().await);

    // Streams of notes, both ways.
    let mut import = shelf.import().await?;
    import.send(note("three")).await?;
    import.send(note("four")).await?;
    import.close().await?;
    let exported: Vec<Note> = shelf.export().await?.try_collect().await?;
    let titles: Vec<&str> = exported.iter().map(|note| note.title.as_str()).collect();
    println!("exported {titles:?}");

    // Bytes, from any reader.
    let attachment = std::io::Cursor::new(vec![7; 100_000]);
    let size = shelf.measure(ReadableStream::from_async_read(attachment));
    println!("measured {}", size.await.map_err(Error::from)?);

    // All notes in one round trip, each looked up where it is.
    let looked_up = shelf.ids().map(|id| (id.clone(), shelf.note(id))).await?;
    println!("mapped {}", looked_up.len());

    // Somebody's object, passed on: here the peer's own, still to come.
    let other = notebook.open_shelf("Grace");
    println!("copied {}", other.copy_from(&shelf).await.map_err(Error::from)?);
    println!("their {:?}", other.ids().await?);

    // An object of ours, called from there.
    let ours = ShelfStub::new(crate::notebook::OneShelf::default());
    ours.add(note("local")).await?;
    println!("copied {}", other.copy_from(ours).await.map_err(Error::from)?);

    println!("cleared {}", shelf.clear().await?);
    let cleared = async { while seen.recv().await.is_some_and(|change| change != Change::Cleared) {} };
    let heard = tokio::time::timeout(Duration::from_secs(10), cleared).await;
    println!("heard {}", heard.is_ok());
    Ok(())
}
