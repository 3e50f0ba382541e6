//! From a notice to a logged and verified bundle of it.

use std::path::{Path, PathBuf};

use serde_json::json;
use treering_client::notice::{Access, LoggedModel, Standing};
use treering_client::online::{self, Questions};
use treering_client::private_key::PrivateKey;
use treering_client::report::Exit;
use treering_client::sign::seal;
use treering_client::submit::{SubmitError, Submitted, submit};
use treering_client::verify::{Policy, examine_entry};
use treering_proto::notice::{Notice, NoticeKind};
use treering_proto::tree::LeafIndex;
use treering_proto::verifier::Verifier;

use super::super::arguments::now;
use super::super::failure::Failure;
use super::super::output::Output;
use super::super::sign::{Finish, Told, envelope, keep, not_submitted};
use super::NOTHING_SENT;
use super::which::Which;

/// Who says something, to which log, and where the proof of it goes.
pub struct Speaker<'a> {
    /// The log.
    pub access: Access<'a>,
    /// The key.
    pub key: &'a PrivateKey,
    /// Where the bundle is wanted.
    pub out: Option<&'a Path>,
    /// How the command line names the model.
    pub which: Which<'a>,
}

impl Speaker<'_> {
    /// Signs the notice about `about`, logs it, verifies what came back, and writes it.
    pub async fn say(
        &self,
        about: &LoggedModel,
        notice: &Notice,
        output: &Output,
    ) -> Result<Exit, Failure> {
        let Access { log, trust, state } = self.access;
        let payload = notice.to_payload().map_err(|error| Failure::usage(NOTHING_SENT, error))?;
        let bundle = seal(payload, self.key)?;
        if let Some(text) = doubt(self.key, about, notice, self.access) {
            output.warning(&text);
        }
        let verifier = Verifier::PublicKey(Box::new(self.key.public_key().clone()));
        let (bundle, kept) = keep(state, trust, bundle, &verifier)?;
        let submitted = match submit(log, envelope(&bundle), &verifier).await {
            Ok(submitted) => submitted,
            Err(error) => {
                if matches!(error, SubmitError::Entry(_) | SubmitError::Refused { .. }) {
                    state.forget_unlogged(kept);
                }
                return Err(not_submitted(error, log, trust, state, output).await);
            }
        };
        let Submitted { entry, novelty, promised } = submitted;
        let examined = examine_entry(&entry, trust);
        let path = self.path(&notice.kind, about.entry.index, entry.log_index);
        let (proven, questions) = (examined.entry().map(|(proven, _)| proven), Questions::Newest);
        let asked = online::ask(log, trust, state, proven, promised.clone(), questions).await;
        let policy = Policy { trust, signers: &[], now: now() };
        let mut verification = examined.conclude(&policy, &asked.shown);
        online::consistency(asked, &mut verification);
        let bundle = bundle.with_log_entry(entry).to_json();
        let finish = Finish { trust, log, state, verifier: &verifier, path: &path, promised };
        let exit = finish.settle(&verification, &bundle, novelty, told(notice), output)?;
        if exit == Exit::Ok {
            state.forget_unlogged(kept);
        }
        Ok(exit)
    }

    /// Where the bundle goes: never into the model, where it would be a file that nobody signed.
    fn path(&self, kind: &NoticeKind, about: LeafIndex, index: LeafIndex) -> PathBuf {
        if let Some(out) = self.out {
            return out.to_owned();
        }
        let named = |model: &Path| match model.file_name() {
            // Without the slash at its end.
            Some(_) => Some(model.components().as_path().as_os_str().to_owned()),
            None => model.canonicalize().ok().map(PathBuf::into_os_string),
        };
        let entry = || format!("entry-{about}").into();
        let mut name = self.which.model.and_then(named).unwrap_or_else(entry);
        name.push(format!(".{}.{index}.sig", kind.name()));
        name.into()
    }
}

/// What a notice says.
pub fn told(notice: &Notice) -> Told {
    let kind = notice.kind.name();
    let name = notice.name.as_deref().unwrap_or("(no name)");
    let mut line = format!("{kind}: {name}, entry {}", notice.about.index);
    let mut json = json!({
        "kind": kind,
        "entry": notice.about.to_json(),
        "modelId": notice.model_id.to_hex(),
        "omsRoot": notice.root.to_hex(),
        "name": notice.name,
        "reason": notice.reason,
    });
    match &notice.kind {
        NoticeKind::Revoke => {}
        NoticeKind::Supersede { by } => {
            line.push_str(&format!(", by entry {}", by.entry.index));
            json["by"] = by.entry.to_json();
            json["by"]["modelId"] = by.model_id.to_hex().into();
        }
        NoticeKind::ApproveRollback { instead_of } => {
            line.push_str(&format!(", instead of entry {}", instead_of.index));
            json["insteadOf"] = instead_of.to_json();
        }
        NoticeKind::Approve { role } => {
            line.push_str(&format!(", as {role}"));
            json["role"] = role.as_str().into();
        }
    }
    let model_id = format!("model id {}", notice.model_id);
    Told { lines: vec![line, model_id], json: json!({ "notice": json }) }
}

/// Why the notice may not count, as far as that is known here. A log and every verifier decide for
/// themselves.
fn doubt(
    key: &PrivateKey,
    about: &LoggedModel,
    notice: &Notice,
    access: Access<'_>,
) -> Option<String> {
    let (kind, index) = (&notice.kind, about.entry.index);
    let policy = &access.trust.model_policy;
    match about.standing(key.public_key(), kind, access.trust) {
        Standing::Signer | Standing::Approver(_) | Standing::Recovery(_) => None,
        Standing::Stranger => match kind {
            NoticeKind::Approve { role } if policy.approvals.is_some() => Some(format!(
                "this trust file does not name this key as an approver for {role:?}; \
                 verifiers with it will not count the approval"
            )),
            NoticeKind::Approve { .. } => None,
            _ => Some(format!(
                "this key did not sign entry {index}: the notice counts only where it is \
                 known as a recovery key, in the log's access policy and under \
                 modelPolicy.recovery in the trust files of verifiers"
            )),
        },
    }
}
