//! Metrics.

/// How closeness is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// The cosine of the angle between two vectors.
    Cosine,
    /// The distance between two points.
    Euclidean,
    /// The dot product.
    DotProduct,
}

impl Metric {
    /// The metric of this name in Vectorize's interface.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "cosine" => Some(Self::Cosine),
            "euclidean" => Some(Self::Euclidean),
            "dot-product" => Some(Self::DotProduct),
            _ => None,
        }
    }

    /// Its name in Vectorize's interface.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::Euclidean => "euclidean",
            Self::DotProduct => "dot-product",
        }
    }
}
