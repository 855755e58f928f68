//! Drift and contracts, from either side.

use relayflow_core::api::{
    AcceptDrift, CheckContracts, Contract, ContractCheck, Drift, LearnContract, List,
};
use relayflow_core::view::{self, Page};

use super::{Backend, failure};
use crate::failure::Failure;

/// Who it is that learns from a store without a daemon; nothing is written then.
const NOBODY: &str = "cli";

impl Backend {
    pub(crate) async fn drift(&self, page: &Page) -> Result<List<Drift>, Failure> {
        match self {
            Self::Api(api) => api.list("drift", page).await,
            Self::Store(direct) => {
                let list = view::drift::drift(&direct.store, &direct.reach().in_force, page).await;
                let mut list = list.map_err(|e| failure(&e))?;
                list.items.iter_mut().for_each(|drift| direct.complete(drift));
                Ok(list)
            }
        }
    }

    pub(crate) async fn one_drift(&self, id: &str) -> Result<Drift, Failure> {
        match self {
            Self::Api(api) => api.get(&["drift", id]).await,
            Self::Store(direct) => {
                let one = view::drift::one_drift(&direct.store, &direct.reach().in_force, id).await;
                let mut one = one.map_err(|e| failure(&e))?;
                direct.complete(&mut one);
                Ok(one)
            }
        }
    }

    pub(crate) async fn accept_drift(&self, id: &str, reason: &str) -> Result<Drift, Failure> {
        let body = AcceptDrift { reason: reason.to_owned() };
        self.api("accepting drift")?.post(&["drift", id, "accept"], &body).await
    }

    pub(crate) async fn contracts(&self) -> Result<List<Contract>, Failure> {
        match self {
            Self::Api(api) => api.get(&["contracts"]).await,
            Self::Store(direct) => {
                if let Some(list) = direct.contracts() {
                    return Ok(list);
                }
                view::contracts::contracts(&direct.store, &direct.reach().in_force)
                    .await
                    .map_err(|e| failure(&e))
            }
        }
    }

    /// `of` is a source or a provider.
    pub(crate) async fn contract(
        &self,
        of: &str,
        event_type: &str,
        version: Option<i64>,
    ) -> Result<Contract, Failure> {
        match self {
            Self::Api(api) => {
                let version = version.map(|version| ("version", version.to_string()));
                api.get_with(&["contracts", of, event_type], version.as_slice()).await
            }
            Self::Store(direct) => {
                if let Some(contract) = direct.contract(of, event_type, version) {
                    return Ok(contract);
                }
                let in_force = &direct.reach().in_force;
                view::contracts::contract(&direct.store, in_force, of, event_type, version)
                    .await
                    .map_err(|e| failure(&e))
            }
        }
    }

    pub(crate) async fn check_contracts(
        &self,
        what: &CheckContracts,
    ) -> Result<ContractCheck, Failure> {
        match self {
            Self::Api(api) => api.post(&["contracts", "check"], what).await,
            Self::Store(direct) => {
                view::contracts::check(&direct.store, &direct.reach().in_force, what)
                    .await
                    .map_err(|e| failure(&e))
            }
        }
    }

    pub(crate) async fn learn_contract(&self, what: &LearnContract) -> Result<Contract, Failure> {
        if what.write {
            return self.api("writing a contract")?.post(&["contracts", "learn"], what).await;
        }
        match self {
            Self::Api(api) => api.post(&["contracts", "learn"], what).await,
            Self::Store(direct) => {
                view::contracts::learn(&direct.store, &direct.reach().in_force, what, NOBODY)
                    .await
                    .map_err(|e| failure(&e))
            }
        }
    }
}
