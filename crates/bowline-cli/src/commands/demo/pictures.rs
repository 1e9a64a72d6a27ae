//! The part of the demo with pictures: one made smaller by fetch, kept and read back by rpc.

use http::Method;

use super::Case;

// One call for both: the gate answers an address that fails more often with 429.
pub(super) const CASES: [Case; 1] = [Case {
    flow: "fetch",
    binding: "IMAGES",
    method: Method::POST,
    path: "/seal?width=12",
    body: "",
    says: "\"width\":12,\"height\":8,\"format\":\"image/webp\"",
}];
