//! Which account to work on.

use serde_json::Value;

use crate::client::Call;
use crate::error::Cause;
use crate::{ApiError, Client, retrying};

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The id.
    pub id: String,
    /// The name its owner gave it.
    pub name: String,
}

/// Pages read at most: accounts are chosen by a person.
const PAGES: u64 = 20;

/// Finds the account that the credentials are for, when there is only one.
///
/// # Errors
/// None, or several: the error lists them and says how to choose.
pub async fn accounts(client: &Client) -> Result<Account, ApiError> {
    let found = retrying(|| async {
        let listed = pages(client, "list accounts", "/accounts").await?;
        // What a token may list is more than what its owner is a member of, and the other way round for some users.
        match pages(client, "list memberships", "/memberships").await {
            Ok(memberships) => {
                let own: Vec<&str> = memberships
                    .iter()
                    .filter_map(|membership| membership["account"]["id"].as_str())
                    .collect();
                let (common, _): (Vec<_>, Vec<_>) = listed
                    .iter()
                    .filter_map(account)
                    .partition(|account| own.contains(&account.id.as_str()));
                if common.is_empty() {
                    Ok(listed.iter().filter_map(account).collect())
                } else {
                    Ok(common)
                }
            }
            // A token of an account has no user behind it.
            Err(error) if error.is_authentication() => Ok(listed.iter().filter_map(account).collect()),
            Err(error) => Err(error),
        }
    })
    .await?;
    choose(found)
}

fn choose(mut found: Vec<Account>) -> Result<Account, ApiError> {
    const NEXT: &str = "set CLOUDFLARE_ACCOUNT_ID, or `account_id` in the wrangler configuration";
    let question = match found.len() {
        1 => return Ok(found.remove(0)),
        0 => "the credentials are for no account".to_owned(),
        _ => {
            let mut text = "the credentials are for several accounts:".to_owned();
            for account in &found {
                text.push_str(&format!("\n    {}  {}", account.id, account.name));
            }
            text
        }
    };
    let next = NEXT;
    Err(ApiError::new(
        "choose an account",
        Cause::Choice { question, next },
    ))
}

fn account(entry: &Value) -> Option<Account> {
    Some(Account {
        id: entry["id"].as_str()?.to_owned(),
        name: entry["name"].as_str().unwrap_or_default().to_owned(),
    })
}

/// The entries of every page. A page that is not full is the last; its size is the API's own.
async fn pages(client: &Client, operation: &str, path: &str) -> Result<Vec<Value>, ApiError> {
    let mut all: Vec<Value> = Vec::new();
    for page in 1..=PAGES {
        let result = client
            .call(Call::get(operation, format!("{path}?page={page}")))
            .await?;
        let Value::Array(entries) = result else {
            return Err(ApiError::new(operation, Cause::Incomplete("list")));
        };
        let new: Vec<Value> = entries.into_iter().filter(|entry| !all.contains(entry)).collect();
        if new.is_empty() {
            break;
        }
        let full = new.len() >= 20;
        all.extend(new);
        if !full {
            break;
        }
    }
    Ok(all)
}
