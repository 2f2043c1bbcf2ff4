//! `http`: side requests, checked here and sent by whoever made the call's context.
//!
//! The one host function that waits. While it does the guest uses no CPU time: the tick that has passed
//! by the time it goes on is given back.

use wasmtime::component::Resource;

use crate::bindings::bascule::plugin::http::{Host, HttpError, HttpResponse};
use crate::bindings::bascule::plugin::types::{Field, RequestHead};
use crate::body::{HostBody, Provenance};
use crate::error::PluginError;
use crate::grants::DEFAULT_ENDPOINT;
use crate::plugin::answer;
use crate::secret::SecretValue;
use crate::side::{SideError, SideRequest, SideResponse};
use crate::state::{State, Stop};

impl Host for State {
    async fn send(
        &mut self,
        mut request: RequestHead,
        auth: Vec<Field>,
        body: Option<Resource<HostBody>>,
    ) -> wasmtime::Result<Result<HttpResponse, HttpError>> {
        let endpoint = request.endpoint.take().unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
        if !self.shared.grants.http.contains(&endpoint) {
            return Ok(Err(HttpError::Denied));
        }
        // No call is in progress at load time, and a call may be one that offers nothing to send with.
        let Some(side) = self.call.side.clone() else { return Ok(Err(HttpError::Denied)) };
        if self.sent >= self.shared.limits.side_requests {
            return Ok(Err(HttpError::Budget));
        }
        let body = match body {
            None => None,
            Some(body) => match self.outgoing(&body)? {
                None => return Ok(Err(HttpError::Denied)),
                body => body,
            },
        };
        let request = SideRequest {
            plugin: self.shared.name.clone(),
            endpoint,
            head: answer::request_head(request, &self.shared.limits).map_err(malformed)?,
            auth: answer::auth_headers(auth, self).map_err(malformed)?,
            body,
            response_bytes_max: self.shared.limits.body,
        };
        self.sent += 1;
        match side.send(request).await {
            Ok(response) => self.incoming(response),
            Err(error) => Ok(Err(error.into())),
        }
    }
}

impl State {
    /// The octets to send; `None` for a body that the plugin may not read and did not make.
    fn outgoing(&self, body: &Resource<HostBody>) -> wasmtime::Result<Option<SecretValue>> {
        let body = self.table.get(body)?;
        let secret = body.provenance() == Provenance::Sealed;
        if !secret && !self.may_read(body) {
            return Ok(None);
        }
        let Some(bytes) = body.octets().cloned() else {
            return Err(Stop::Misuse("sent a one-shot body in a side request").into());
        };
        Ok(Some(SecretValue { bytes, secret }))
    }

    fn incoming(&mut self, response: SideResponse) -> wasmtime::Result<Result<HttpResponse, HttpError>> {
        if response.body.len() as u64 > self.shared.limits.body {
            return Ok(Err(HttpError::TooLarge));
        }
        let body = self.keep(response.body, Provenance::Plugin)?;
        Ok(Ok(HttpResponse { head: response.head, body }))
    }
}

/// A request that breaks a rule is a mistake of the plugin, not an outcome that it could act on.
fn malformed(error: PluginError) -> wasmtime::Error {
    wasmtime::Error::new(error).context("sent a side request that cannot be sent")
}

impl From<SideError> for HttpError {
    fn from(error: SideError) -> Self {
        match error {
            SideError::Denied => Self::Denied,
            SideError::Limited => Self::Limited,
            SideError::Deadline => Self::Deadline,
            SideError::BreakerOpen => Self::BreakerOpen,
            SideError::Connect => Self::Connect,
            SideError::TooLarge => Self::TooLarge,
        }
    }
}
