//! The part of the demo in which Workers call Workers: one of ours by its methods, one of a customer's by fetch.

use http::Method;

use super::Case;

pub(super) const CASES: [Case; 3] = [
    Case {
        flow: "rpc",
        binding: "PRESS",
        method: Method::GET,
        path: "/card?line=The+knot+holds+whatever+hangs+on+it.",
        body: "",
        says: r"The knot holds whatever\nhangs on it.\n-- Ada",
    },
    Case {
        flow: "fetch",
        binding: "FRAMES",
        method: Method::GET,
        path: "/framed?by=rope&line=The+knot+holds.",
        body: "",
        says: "( The knot holds. )",
    },
    Case {
        flow: "rpc",
        binding: "ART",
        method: Method::GET,
        path: "/versions",
        body: "",
        says: "\"message\":\"Opened\"",
    },
];
