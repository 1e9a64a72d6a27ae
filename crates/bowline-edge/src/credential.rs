//! The credential of the API.

use bowline_secret::Secret;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use subtle::ConstantTimeEq;

/// What a request shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// The right token, or the key with an e-mail address.
    Right,
    /// Another one.
    Wrong,
    /// None.
    Nothing,
}

/// Looks for `token` as `Authorization: Bearer TOKEN`, or as `X-Auth-Key` beside any `X-Auth-Email`.
pub(crate) fn shown(headers: &HeaderMap, token: &Secret) -> Shown {
    let same = |given: &[u8]| bool::from(given.ct_eq(token.expose().as_bytes()));
    let judged = |right: bool| if right { Shown::Right } else { Shown::Wrong };
    if let Some(value) = headers.get(AUTHORIZATION) {
        let given = value.as_bytes().strip_prefix(b"Bearer ").unwrap_or_default();
        return judged(same(given));
    }
    match (headers.get("x-auth-key"), headers.get("x-auth-email")) {
        (Some(key), Some(_)) => judged(same(key.as_bytes())),
        _ => Shown::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use bowline_secret::Secret;
    use http::HeaderMap;

    use super::{Shown, shown};

    #[test]
    fn both_forms() {
        let token = Secret::new("right");
        for (headers, expected) in [
            (vec![], Shown::Nothing),
            (vec![("authorization", "Bearer right")], Shown::Right),
            (vec![("authorization", "Bearer rights")], Shown::Wrong),
            (vec![("authorization", "right")], Shown::Wrong),
            (vec![("x-auth-key", "right")], Shown::Nothing),
            (
                vec![("x-auth-key", "right"), ("x-auth-email", "a@b.c")],
                Shown::Right,
            ),
            (
                vec![("x-auth-key", "left"), ("x-auth-email", "a@b.c")],
                Shown::Wrong,
            ),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in &headers {
                map.insert(*name, value.parse().unwrap());
            }
            assert_eq!(shown(&map, &token), expected, "{headers:?}");
        }
    }
}
