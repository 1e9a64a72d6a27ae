//! The example's routes, as far as they go without stores.

use std::path::Path;
use std::sync::Arc;

use bowline_config::Project;

use crate::support::{Far, KEYS, get, start, toolchain};

fn project() -> Project {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/guestbook");
    Project::load(&folder, &KEYS).unwrap()
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
        assert!(error.starts_with("refused: no way in"), "{path}: {error}");
    }
    runner.stop().await;
}
