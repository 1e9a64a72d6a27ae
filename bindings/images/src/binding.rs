//! The fetch surface, `info()` and `output()`, and where the rest begins.

use std::path::Path;
use std::sync::Arc;

use bowline_binding::{
    Binding, BindingError, Body, CallContext, ConfigError, Endpoint, FetchReply, FetchRequest, Surfaces,
};
use capnweb::Target;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};
use serde_json::json;

use crate::chain;
use crate::config::Config;
use crate::error::Refusal;
use crate::form::Form;
use crate::hosted::{DeliveryEndpoint, Hosted, Main};
use crate::kind::{self, Kind};
use crate::output::Output;
use crate::work::Workshop;

/// An Images binding.
pub(crate) struct Images {
    config: Arc<Config>,
    workshop: Arc<Workshop>,
    hosted: Arc<Hosted>,
}

impl Images {
    /// Opens the store of hosted images in a folder of state.
    pub(crate) fn open(config: Config, state: &Path) -> Result<Self, ConfigError> {
        let config = Arc::new(config);
        Ok(Self {
            workshop: Arc::new(Workshop::new(config.limits.work)),
            hosted: Arc::new(Hosted::open(Arc::clone(&config), state)?),
            config,
        })
    }

    async fn info(&self, request: FetchRequest) -> Result<Response<Body>, Refusal> {
        let admitted = self.workshop.admit()?;
        let form = Form::read(&request.headers, request.body, &self.config.limits).await?;
        let config = Arc::clone(&self.config);
        let info = self
            .workshop
            .run(admitted, move |_| {
                let image = &form.images[0];
                if Kind::of(image)? == Kind::Svg {
                    return Ok(json!({"format": Kind::Svg.media_type()}));
                }
                let head = kind::head(image, &config.limits)?;
                Ok(json!({
                    "format": head.kind.media_type(), "file_size": image.len(),
                    "width": head.width, "height": head.height,
                }))
            })
            .await?;
        Ok(answer("application/json", info.to_string().into_bytes()))
    }

    async fn transform(&self, request: FetchRequest) -> Result<Response<Body>, Refusal> {
        let admitted = self.workshop.admit()?;
        let form = Form::read(&request.headers, request.body, &self.config.limits).await?;
        let output = Output::parse(
            form.format.as_deref(),
            form.quality.as_deref(),
            form.background.as_deref(),
            form.animated.as_deref(),
        )?;
        let steps = chain::parse(form.transforms.as_deref().unwrap_or("[]"), form.images.len())?;
        let config = Arc::clone(&self.config);
        let encoded = self
            .workshop
            .run(admitted, move |watch| {
                chain::run(&form.images, &steps, &output, &config.limits, watch)
            })
            .await?;
        Ok(answer(encoded.media_type, encoded.bytes))
    }
}

#[async_trait::async_trait]
impl Binding for Images {
    fn surfaces(&self) -> Surfaces {
        Surfaces {
            fetch: true,
            rpc: true,
            ..Surfaces::default()
        }
    }

    fn target(&self, _cx: &CallContext) -> Result<Arc<dyn Target>, BindingError> {
        Ok(Arc::new(Main::new(
            Arc::clone(&self.hosted),
            Arc::clone(&self.workshop),
        )))
    }

    fn endpoint(&self) -> Option<Arc<dyn Endpoint>> {
        Some(Arc::new(DeliveryEndpoint::new(
            Arc::clone(&self.hosted),
            Arc::clone(&self.workshop),
        )))
    }

    async fn fetch(&self, cx: &CallContext, request: FetchRequest) -> Result<FetchReply, BindingError> {
        let path = request.path().to_owned();
        let answered = match path.as_str() {
            "/info" | "/transform" if request.method != Method::POST => {
                let refusal = Refusal::request(format!("{path} takes POST, not {}", request.method));
                let mut response = refusal.response();
                *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
                response
                    .headers_mut()
                    .insert(ALLOW, HeaderValue::from_static("POST"));
                return Ok(response.into());
            }
            "/info" => self.info(request).await,
            "/transform" => self.transform(request).await,
            _ => Err(Refusal::request(format!("Images has no endpoint {path}"))),
        };
        Ok(answered
            .unwrap_or_else(|refusal| {
                tracing::debug!(binding.name = %cx.binding, binding.kind = "images", error = %refusal, "call refused");
                refusal.response()
            })
            .into())
    }
}

fn answer(media_type: &'static str, bytes: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(bowline_binding::full(bytes));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
