//! The part of the demo with pictures: one made smaller, one kept.

use http::Method;

use super::Case;

pub(super) const CASES: [Case; 2] = [
    Case {
        flow: "fetch",
        binding: "IMAGES",
        method: Method::GET,
        path: "/seal?width=12",
        body: "",
        says: "\"width\":12,\"height\":8,\"format\":\"image/webp\"",
    },
    Case {
        flow: "rpc",
        binding: "IMAGES",
        method: Method::POST,
        path: "/seal",
        body: "",
        says: "\"width\":24,\"height\":16,\"format\":\"image/png\"",
    },
];
