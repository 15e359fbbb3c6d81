//! Where the bytes for a heal or a rollback may come from on the controller.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::fleet::declared::DeclaredContent;
use crate::fleet::prospect::{Prospect, Survey};

use super::Session;
use super::deployment::Deployment;
use super::error::CommandError;

/// The controller's content, as far as its digests agree with what hosts lack. It is the last place
/// that is asked, and need not be there: a source that is gone or wrong is no error here.
///
/// # Errors
/// Exit code 4 when a host is lost.
pub(super) async fn content(
    session: &Session,
    deployment: &Deployment,
    _survey: &Survey,
    _prospect: &Prospect,
) -> Result<Arc<DeclaredContent>, CommandError> {
    let declaration = deployment.declaration(session, None).await;
    let none = || DeclaredContent {
        contents: BTreeMap::new(),
        made: BTreeMap::new(),
    };
    Ok(declaration.map_or_else(|_| Arc::new(none()), |declaration| declaration.content))
}
