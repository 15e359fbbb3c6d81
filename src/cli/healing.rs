//! Where the bytes for a heal or a rollback come from: the host itself, another host of the app,
//! the controller's source where the digests agree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::content::ManifestEntry;
use crate::fleet::declared::DeclaredContent;
use crate::fleet::progress::Member;
use crate::fleet::prospect::Prospect;
use crate::fleet::run::Run;
use crate::fleet::supply::{Need, Supplies, supplies};
use crate::model::Digest;

use super::Session;
use super::deployment::{Deployment, asking};
use super::error::{CommandError, NEXT};
use super::exit::Exit;

/// Content for a way to an earlier state, and where each host gets what it lacks.
pub(super) struct Healing {
    content: Arc<DeclaredContent>,
    needs: BTreeMap<Member, Need>,
    supplies: Supplies,
}

impl Healing {
    /// Finds out where everything is that the plan needs.
    ///
    /// # Errors
    /// Exit code 10 when some bytes are nowhere, with the files that need them; 4 when a host is lost.
    pub async fn find(
        session: &Session,
        deployment: &Deployment,
        prospect: &Prospect,
    ) -> Result<Self, CommandError> {
        let needs = needs(deployment, prospect).await?;
        let supplies = supplies(&deployment.fleet, &needs)
            .await
            .map_err(|error| asking(&[error]))?;
        let content = if supplies.nowhere.is_empty() {
            None
        } else {
            // A source that is gone or wrong has nothing, and is no error here.
            deployment.declaration(session, None).await.ok()
        };
        let none = || DeclaredContent {
            contents: BTreeMap::new(),
            made: BTreeMap::new(),
        };
        let content = content.map_or_else(|| Arc::new(none()), |declaration| declaration.content);
        let blocking = supplies.findings(|member, digest| has(&content, member, digest));
        let lines: Vec<_> = blocking
            .iter()
            .map(|finding| format!("{}: {}", finding.host, finding.message))
            .collect();
        if !lines.is_empty() {
            return Err(CommandError::new(Exit::BLOCKED, lines.join(NEXT))
                .hint("check out the source that was deployed, or apply what is declared now"));
        }
        Ok(Self {
            content,
            needs,
            supplies,
        })
    }

    /// The content from the controller, and in the run where the rest comes from.
    pub fn supply(self, run: &mut Run) -> Arc<DeclaredContent> {
        for (member, elsewhere) in self.supplies.elsewhere {
            if let Some(part) = run.parts.get_mut(&member) {
                part.elsewhere = elsewhere;
            }
        }
        for (member, need) in self.needs {
            if let Some(part) = run.parts.get_mut(&member) {
                part.manifests.extend(need.manifests);
            }
        }
        self.content
    }
}

/// What each member's steps need: by convention the attributes `content` and `tree` of resources.
async fn needs(
    deployment: &Deployment,
    prospect: &Prospect,
) -> Result<BTreeMap<Member, Need>, CommandError> {
    let mut trees: BTreeMap<Member, BTreeSet<String>> = BTreeMap::new();
    let mut needs: BTreeMap<Member, Need> = BTreeMap::new();
    for step in &prospect.plan.steps {
        let member = Member::new(&step.resource.host, &step.resource.app);
        let Some(address) = deployment.addresses.get(&member) else {
            continue;
        };
        let need = needs.entry(member.clone()).or_insert_with(|| Need {
            address: address.clone(),
            manifests: BTreeMap::new(),
            contents: BTreeMap::new(),
        });
        let text = |name: &str| step.to.as_ref().and_then(|to| to.text(name));
        if let Some(digest) = text("content").and_then(|digest| digest.parse().ok()) {
            need.contents.insert(digest, step.resource.name.clone());
        }
        if let Some(tree) = text("tree") {
            trees.entry(member).or_default().insert(tree.to_owned());
        }
    }
    // The controller never saw these trees, or no longer has them: their host knows what they are.
    for (member, trees) in trees {
        let connection = deployment.fleet.get(&member.host);
        let (Some(connection), Some(need)) = (connection, needs.get_mut(&member)) else {
            continue;
        };
        let manifests = connection.manifests(need.address.clone(), trees).await;
        need.manifests = manifests.map_err(|error| asking(&[error]))?;
    }
    Ok(needs)
}

/// Whether the controller has some content.
fn has(content: &DeclaredContent, member: &Member, digest: &Digest) -> bool {
    let made = content
        .made
        .get(member)
        .is_some_and(|made| made.contains_key(digest));
    let tree = content
        .contents
        .get(&member.app)
        .map(|content| &content.tree.manifest);
    let digests: BTreeSet<_> = tree
        .into_iter()
        .flat_map(|tree| tree.entries.values())
        .filter_map(|entry| match entry {
            ManifestEntry::File { digest, .. } => Some(digest),
            _ => None,
        })
        .collect();
    made || digests.contains(digest)
}
