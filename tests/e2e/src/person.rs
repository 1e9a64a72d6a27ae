//! A person at a browser, by hand: cookies per host, redirects followed, forms filled in.

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};
use http::header::{LOCATION, SET_COOKIE};
use http::{Method, StatusCode};
use url::Url;

use crate::access::Gateway;
use crate::client::Outgoing;

/// A browser follows this many redirects.
const HOPS: usize = 20;

/// The person.
#[derive(Debug, Default)]
pub struct Person {
    /// Cookies by host; ports make no difference.
    cookies: HashMap<String, HashMap<String, String>>,
}

/// What the browser shows.
#[derive(Debug)]
pub struct Page {
    /// Where it is.
    pub url: Url,
    /// Its status.
    pub status: StatusCode,
    /// Its text.
    pub text: String,
}

impl Page {
    /// The value of a hidden field of its form.
    pub fn hidden(&self, name: &str) -> Result<&str> {
        let field = format!("name=\"{name}\" type=\"hidden\" value=\"");
        let (_, rest) = self
            .text
            .split_once(&field)
            .with_context(|| format!("no `{name}` in {}", self.text))?;
        Ok(rest.split('"').next().unwrap_or_default())
    }
}

impl Person {
    /// Opens a page.
    pub async fn open(&mut self, url: &str) -> Result<Page> {
        self.go(Method::GET, url.parse()?, String::new()).await
    }

    /// Sends a page's form.
    pub async fn submit(&mut self, page: &Page, fields: &[(&str, &str)]) -> Result<Page> {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        self.go(Method::POST, page.url.clone(), form).await
    }

    /// The value of a cookie that the browser has for a host.
    pub fn cookie(&self, host: &str, name: &str) -> Option<&str> {
        self.cookies.get(host)?.get(name).map(String::as_str)
    }

    /// Logs in to whatever `url` leads to a login for, by the gateway's development login.
    pub async fn log_in(&mut self, gateway: &Gateway, url: &str, email: &str) -> Result<Page> {
        let page = self.open(url).await?;
        ensure!(page.text.contains("Development login"), "{}", page.text);
        let page = self.submit(&page, &[("email", email)]).await?;
        let (id, code) = (
            page.hidden("id")?.to_owned(),
            gateway.shown_code(email).context("the operator saw no code")?,
        );
        self.submit(&page, &[("id", &id), ("code", &code)]).await
    }

    /// Completes the login of a program at `url`: logs in, and agrees.
    pub async fn sign_in(&mut self, gateway: &Gateway, url: &str, email: &str) -> Result<()> {
        let page = self.log_in(gateway, url, email).await?;
        let agreement = page.hidden("agreement")?.to_owned();
        let page = self.submit(&page, &[("agreement", &agreement)]).await?;
        ensure!(page.text.contains("You are signed in"), "{}", page.text);
        Ok(())
    }

    async fn go(&mut self, mut method: Method, mut url: Url, mut form: String) -> Result<Page> {
        for _ in 0..HOPS {
            let host = url.host_str().context("a URL with a host")?.to_owned();
            let mut request = Outgoing::new(method.clone(), url.as_str());
            if method == Method::POST {
                request = request
                    .header("content-type", "application/x-www-form-urlencoded")
                    .header("content-length", form.len().to_string())
                    .body(form.clone());
            }
            let jar = self.cookies.entry(host).or_default();
            if !jar.is_empty() {
                let cookies: Vec<_> = jar
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                request = request.header("cookie", cookies.join("; "));
            }
            let answer = request.send().await?;
            for cookie in answer.headers.get_all(SET_COOKIE) {
                let pair = cookie.to_str()?.split(';').next().unwrap_or_default();
                let (name, value) = pair.split_once('=').context("a cookie has a name")?;
                if value.is_empty() {
                    jar.remove(name);
                } else {
                    jar.insert(name.to_owned(), value.to_owned());
                }
            }
            let Some(location) = answer.headers.get(LOCATION) else {
                return Ok(Page {
                    url,
                    status: answer.status,
                    text: answer.text(),
                });
            };
            url = url.join(location.to_str()?)?;
            (method, form) = (Method::GET, String::new());
        }
        bail!("redirected too often, at last to {url}")
    }
}
