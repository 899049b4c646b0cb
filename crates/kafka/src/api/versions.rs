//! ApiVersions: what this server answers. The first request of every client.

use crate::apis::{APIS, Api};
use crate::reply::{Hangup, Pending, To};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};

pub(super) fn answer(to: To, request: &ApiVersionsRequest) -> ApiVersionsResponse {
    let named = !request.client_software_name.is_empty() && !request.client_software_version.is_empty();
    if to.version >= 3 && !named {
        return ApiVersionsResponse::default().with_error_code(ResponseError::InvalidRequest.code());
    }
    ApiVersionsResponse::default().with_api_keys(APIS.iter().map(version_of).collect())
}

fn version_of(api: &Api) -> ApiVersion {
    let key = api.key as i16;
    ApiVersion::default().with_api_key(key).with_min_version(api.told_min()).with_max_version(api.max)
}

/// A client that is newer than this server asks in a version that nobody here knows: it is answered in version 0,
/// with the versions of this very request, and asks again. Any other request in such a version ends the connection.
pub(super) fn unsupported(to: To) -> Result<Pending, Hangup> {
    if to.key != ApiKey::ApiVersions as i16 {
        return Err(Hangup::UnknownVersion { key: to.key, version: to.version });
    }
    let own = Api::find(to.key).map(version_of);
    let response = ApiVersionsResponse::default()
        .with_error_code(ResponseError::UnsupportedVersion.code())
        .with_api_keys(own.into_iter().collect());
    Ok(To { version: 0, ..to }.ready(&response))
}
