//! From a header to a principal: tokens of this log, and JWTs of the issuers in the policy.
//!
//! Invariant: nothing in a credential decides where anything is fetched; an issuer is asked for its
//! keys only for a token that names it and an algorithm of its list.

use std::sync::Arc;

use super::credential::Credential;
use super::jwks::{IssuerKey, KeysError, select};
use super::jwt::{JwtRefusal, Unverified};
use super::policy::Issuer;
use super::token::Presented;
use super::{Access, Denied, PolicyView, Principal};

impl Access {
    pub(super) async fn authenticate_header(
        &self,
        policy: &PolicyView,
        header: &[u8],
    ) -> Result<Principal, Denied> {
        let credential = Credential::parse(header)
            .map_err(|error| Denied::unauthenticated("credential-malformed", error.to_string()))?;
        match credential {
            Credential::Token(secret) => self.bearer(secret.as_str()),
            Credential::Jwt(secret) => self.workload(policy, secret.as_str()).await,
        }
    }

    fn bearer(&self, text: &str) -> Result<Principal, Denied> {
        let refused =
            |why: super::token::TokenRefusal| Denied::unauthenticated(why.label(), why.to_string());
        let presented = Presented::parse(text).map_err(refused)?;
        let tokens = self.tokens()?;
        let kept = tokens.get().by_id(presented.id());
        presented.check(kept, self.now().wall_ms / 1000).map_err(|why| {
            let is_unknown = why == super::token::TokenRefusal::Unknown;
            let name = kept.filter(|_| !is_unknown);
            let principal = name.map(|token| format!("token:{}#{}", token.name, token.id));
            Denied { principal, ..refused(why) }
        })?;
        let token = kept.ok_or_else(|| refused(super::token::TokenRefusal::Unknown))?;
        let (id, name, scope) = (token.id.clone(), token.name.clone(), token.scope.clone());
        Ok(Principal::Token { id, name, scope })
    }

    async fn workload(&self, policy: &PolicyView, text: &str) -> Result<Principal, Denied> {
        let refused = |why: JwtRefusal| Denied::unauthenticated(why.label(), why.to_string());
        let token = Unverified::parse(text).map_err(refused)?;
        let found = policy.get()?.and_then(|policy| {
            let mut issuers = policy.issuers.iter();
            issuers.find(|(_, issuer)| token.issuer() == Some(&issuer.issuer))
        });
        let (name, issuer) = found.ok_or_else(|| refused(JwtRefusal::Issuer))?;
        if !issuer.algorithms.contains(&token.algorithm()) {
            return Err(refused(JwtRefusal::Algorithm));
        }
        let keys = self.keys_for(issuer, &token).await.map_err(|error| match error {
            KeysError::Refused(why) => refused(why),
            KeysError::Unavailable(_) => Denied::unavailable(
                "issuer-unavailable",
                "the keys of the token's issuer cannot be had now; try again",
            ),
        })?;
        let selected = select(&keys, token.key_id(), token.algorithm()).map_err(refused)?;
        let now = self.now().wall_ms / 1000;
        let (subject, claims) = token.verify(issuer, &selected, now).map_err(refused)?;
        Ok(Principal::Workload { issuer: name.clone(), subject, claims })
    }

    /// Keys among which that of the token is, looked for again if it is not.
    async fn keys_for(
        &self,
        issuer: &Issuer,
        token: &Unverified<'_>,
    ) -> Result<Arc<Vec<IssuerKey>>, KeysError> {
        let cache = self.key_cache(&issuer.keys);
        let now_ms = || self.now().boot_ms;
        let keys = cache.keys(&self.http, now_ms).await?;
        if select(&keys, token.key_id(), token.algorithm()).is_ok() {
            return Ok(keys);
        }
        let newer = cache.newer_than(&keys, &self.http, now_ms).await?;
        let found = select(&newer, token.key_id(), token.algorithm()).map(|_| ());
        found.map_err(KeysError::Refused)?;
        Ok(newer)
    }
}
