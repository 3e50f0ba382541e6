//! Whether a model that is logged was revoked, by the rule that verifiers have for it.
//!
//! Out of scope: what comes of it.

use treering_proto::dsse_envelope::{IN_TOTO_PAYLOAD_TYPE, pae};
use treering_proto::hash::sha256;
use treering_proto::trust::ModelPolicy;
use treering_proto::trust::model_policy::Action;

use super::{Access, LoggedModel};
use crate::consistency::{FollowError, follow};
use crate::history::{Believed, Finding, SeenModel, Subject, Who, judge};
use crate::status::{StatusError, gather_history};

/// Why the log could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum RevokedError {
    /// It could not be followed to its newest checkpoint.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// Its answers prove nothing.
    #[error(transparent)]
    Status(#[from] StatusError),
}

impl LoggedModel {
    /// Asks the log whether somebody who may has revoked this model.
    ///
    /// # Errors
    /// [`RevokedError`].
    pub async fn revoked(&self, access: &Access<'_>) -> Result<Finding, RevokedError> {
        let Access { log, trust, state } = *access;
        let head = follow(log, trust, state, None).await?.head;
        let verifier = self.signed_by.first().expect("a logged model has a signature");
        let subject = Subject {
            log: trust.log.origin.clone(),
            entry: self.entry,
            time: None,
            signed_by: Who::of(verifier, &[], &trust.certificate_authorities, None),
            intermediates: Vec::new(),
            model: SeenModel::of(&self.statement),
            weights: Vec::new(),
            weights_left_out: 0,
            digest: sha256(&pae(IN_TOTO_PAYLOAD_TYPE, &self.statement.to_payload())),
            has_statement: true,
            head_time: None,
        };
        let policy = ModelPolicy {
            revoked: Some(Action::Refuse),
            recovery: trust.model_policy.recovery.clone(),
            ..ModelPolicy::default()
        };
        let believed = Believed { policy: &policy, signers: &trust.signers };
        let history = gather_history(log, trust, &head, believed, &subject, &[]).await?;
        let mut findings = judge(believed, &subject, Some(&history), 0);
        Ok(findings.pop().expect("a rule that is on has a finding"))
    }
}
