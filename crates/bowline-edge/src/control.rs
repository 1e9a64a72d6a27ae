//! The control interface: the same credential as the API's, below `/control`.
//!
//! | call | does |
//! |---|---|
//! | `GET /control` | what there is: mode of Access, faults left, previews, open tails, connections of a [`Line`](crate::Line) |
//! | `PUT /control/faults` | replaces the faults, one a line |
//! | `PUT /control/access` | sets the mode of Access: `service-auth`, `login`, `off` |
//! | `POST /control/expire/sessions`, `…/previews` | ends all tokens of a kind now |
//! | `POST /control/tail` | sends a JSON text to every open tail |
//! | `GET`, `DELETE /control/log` | the last requests, without credentials; deleted, they are forgotten |

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bowline_binding::{Body, collect_boxed};
use bowline_gateway::{Connection, Service};
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::access::AccessMode;
use crate::api::failed;
use crate::credential::{Shown, shown};
use crate::stand::State;
use crate::{Fault, answers};

/// The largest body.
const LARGEST: usize = 64 * 1024;

/// Where it is.
pub(crate) const BASE: &str = "/control";

/// The control interface alone, to be served where the API is out of reach. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Control(pub(crate) Arc<State>);

impl Service for Control {
    async fn call(&self, _: &Connection, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let Some(path) = path.strip_prefix(BASE) else {
            return answers::text(
                StatusCode::NOT_FOUND,
                format!("the control interface is below {BASE}\n"),
            );
        };
        let state = &self.0;
        if shown(request.headers(), &state.options.api_token) != Shown::Right {
            return answers::text(
                StatusCode::FORBIDDEN,
                "show the API token, as `Authorization: Bearer TOKEN`\n",
            );
        }
        let method = request.method().clone();
        let body = match collect_boxed(request.into_body(), LARGEST).await {
            Ok(body) => String::from_utf8_lossy(&body).into_owned(),
            Err(error) => return answers::text(StatusCode::BAD_REQUEST, format!("{error}\n")),
        };
        let wrong = |problem: String| answers::text(StatusCode::BAD_REQUEST, format!("{problem}\n"));
        match (method, path) {
            (Method::GET, "") => {}
            (Method::PUT, "/faults") => {
                let lines = body.lines().filter(|line| !line.trim().is_empty());
                match lines.map(str::parse::<Fault>).collect() {
                    Ok(faults) => state.faults.set(faults),
                    Err(error) => return wrong(error.to_string()),
                }
            }
            (Method::PUT, "/access") => {
                let mode: AccessMode = match body.parse() {
                    Ok(mode) => mode,
                    Err(problem) => return wrong(problem),
                };
                if let Err(error) = state.access.set(mode).await {
                    return failed(&error);
                }
            }
            (Method::POST, "/expire/sessions") => state.sessions.expire(),
            (Method::POST, "/expire/previews") => state.previews.expire(),
            (Method::POST, "/tail") => match serde_json::from_str::<Value>(&body) {
                Ok(event) => state.tails.tell_all(&event),
                Err(error) => return wrong(format!("the body is no JSON: {error}")),
            },
            (Method::GET, "/log") => {
                return answers::json(StatusCode::OK, &Value::Array(state.journal.entries()));
            }
            (Method::DELETE, "/log") => {
                return answers::json(StatusCode::OK, &Value::Array(state.journal.take()));
            }
            _ => return answers::text(StatusCode::NOT_FOUND, "there is no such control\n"),
        }
        let previews = state.previews.live();
        let scripts: Vec<&str> = previews.iter().map(|preview| preview.script.as_str()).collect();
        answers::json(
            StatusCode::OK,
            &json!({
                "access": state.access.mode().to_string(), "faults": state.faults.list(), "previews": scripts,
                "tails": state.tails.open_sockets(), "connections": state.connections.load(Ordering::Relaxed),
            }),
        )
    }
}
