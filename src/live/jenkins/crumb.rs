//! The token against cross-site requests that older controllers, and passwords, need for each POST. Secret like a password.

use secrecy::SecretString;

use crate::live::http::{Request, Response};

pub const PATH: &str = "crumbIssuer/api/json";

/// The header's name is the controller's choice (`.crumb`, `Jenkins-Crumb`). Since 2.176.2 a crumb belongs to the web session
/// that it was issued in, so its cookie goes along.
#[derive(Debug, Clone)]
pub struct Crumb {
    field: String,
    value: SecretString,
    cookie: Option<SecretString>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Issued {
    crumb: String,
    crumb_request_field: String,
}

impl Crumb {
    /// The answer to a GET of `PATH` with status 200.
    pub fn read(response: &Response) -> Result<Self, String> {
        // A body that does not fit is not shown: it may hold the crumb.
        let issued: Issued = serde_json::from_slice(&response.body).map_err(|_| "no crumb in the answer".to_owned())?;
        let pairs = response.headers("set-cookie").filter_map(|cookie| cookie.split(';').next());
        // A cookie that is taken away comes with an empty value.
        let pairs: Vec<&str> = pairs.map(str::trim).filter(|pair| !pair.ends_with('=')).collect();
        let cookie = (!pairs.is_empty()).then(|| pairs.join("; ").into());
        Ok(Self { field: issued.crumb_request_field, value: issued.crumb.into(), cookie })
    }

    pub fn sign(&self, request: Request) -> Request {
        let request = request.secret_header(&self.field, self.value.clone());
        match &self.cookie {
            Some(cookie) => request.secret_header("Cookie", cookie.clone()),
            None => request,
        }
    }
}

/// Whether a refusal is for want of a valid crumb, and not of rights.
pub fn is_wanted(response: &Response) -> bool {
    response.status == 403
        && response.header("x-required-permission").is_none()
        && response.text().to_ascii_lowercase().contains("valid crumb")
}
