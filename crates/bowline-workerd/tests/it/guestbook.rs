//! The example's routes, as far as they go without stores.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::path::Path;
use std::sync::Arc;

use bowline_config::Project;

use crate::support::{Far, get, keys, printed, start, toolchain};

fn project() -> Project {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/guestbook");
    Project::load(&folder, &keys()).unwrap()
}

#[tokio::test]
async fn its_configuration_is_whole_and_its_routes_answer() {
    let project = project();
    assert!(project.warnings.is_empty(), "{:?}", project.warnings);
    assert!(project.bindings.iter().all(|binding| binding.remote));
    let far = Arc::new(Far::default());
    let runner = start(project, &far, toolchain().await).await.unwrap();
    let (status, page) = get(&runner, "/").await;
    assert_eq!(status, 200);
    assert!(page.as_str().unwrap().contains("<h1>Guestbook</h1>"));
    for (path, member, value) in [
        ("/ws?line=one", "received", "ws|one"),
        ("/tcp?line=two", "received", "127.0.0.1:7007|two"),
    ] {
        let (status, answer) = get(&runner, path).await;
        assert_eq!((status, answer[member].as_str()), (200, Some(value)), "{answer}");
    }
    assert_eq!(get(&runner, "/similar").await.0, 400);
    assert_eq!(get(&runner, "/nowhere").await.0, 404);
    runner.stop().await;
}

#[tokio::test]
async fn refusals_are_answers() {
    let far = Arc::new(Far {
        refuse: Some("refused: no way in\nmore"),
        ..Far::default()
    });
    let runner = start(project(), &far, toolchain().await).await.unwrap();
    for path in ["/notify", "/ws", "/tcp"] {
        let (status, answer) = get(&runner, path).await;
        assert_eq!(status, 502, "{path}: {answer}");
        let error = answer["error"].as_str().unwrap();
        if path == "/tcp" {
            assert_eq!(error, "Network connection lost.");
            printed(&far, "connect to 127.0.0.1:7007: refused: no way in").await;
        } else {
            assert!(error.starts_with("refused: no way in"), "{path}: {error}");
        }
    }
    runner.stop().await;
}
