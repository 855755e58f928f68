//! Drift and contracts, from either side.

use relayflow_core::api::{
    AcceptDrift, CheckContracts, Contract, ContractCheck, Drift, LearnContract, List,
};
use relayflow_core::view::{self, Page};

use super::{Backend, failure};
use crate::app::App;
use crate::failure::Failure;

/// Who it is that learns from a store without a daemon; nothing is written then.
const NOBODY: &str = "cli";

impl Backend {
    pub(crate) async fn drift(&self, app: &App, page: &Page) -> Result<List<Drift>, Failure> {
        match self {
            Self::Api(api) => api.list("drift", page).await,
            Self::Store(store) => {
                view::drift::drift(store, &app.in_force(), page).await.map_err(|e| failure(&e))
            }
        }
    }

    pub(crate) async fn one_drift(&self, app: &App, id: &str) -> Result<Drift, Failure> {
        match self {
            Self::Api(api) => api.get(&["drift", id]).await,
            Self::Store(store) => {
                view::drift::one_drift(store, &app.in_force(), id).await.map_err(|e| failure(&e))
            }
        }
    }

    pub(crate) async fn accept_drift(&self, id: &str, reason: &str) -> Result<Drift, Failure> {
        let body = AcceptDrift { reason: reason.to_owned() };
        self.api("accepting drift")?.post(&["drift", id, "accept"], &body).await
    }

    pub(crate) async fn contracts(&self, app: &App) -> Result<List<Contract>, Failure> {
        match self {
            Self::Api(api) => api.get(&["contracts"]).await,
            Self::Store(store) => {
                view::contracts::contracts(store, &app.in_force()).await.map_err(|e| failure(&e))
            }
        }
    }

    /// `of` is a source or a provider.
    pub(crate) async fn contract(
        &self,
        app: &App,
        of: &str,
        event_type: &str,
        version: Option<i64>,
    ) -> Result<Contract, Failure> {
        match self {
            Self::Api(api) => {
                let version = version.map(|version| ("version", version.to_string()));
                api.get_with(&["contracts", of, event_type], version.as_slice()).await
            }
            Self::Store(store) => {
                view::contracts::contract(store, &app.in_force(), of, event_type, version)
                    .await
                    .map_err(|e| failure(&e))
            }
        }
    }

    pub(crate) async fn check_contracts(
        &self,
        app: &App,
        what: &CheckContracts,
    ) -> Result<ContractCheck, Failure> {
        match self {
            Self::Api(api) => api.post(&["contracts", "check"], what).await,
            Self::Store(store) => {
                view::contracts::check(store, &app.in_force(), what).await.map_err(|e| failure(&e))
            }
        }
    }

    pub(crate) async fn learn_contract(
        &self,
        app: &App,
        what: &LearnContract,
    ) -> Result<Contract, Failure> {
        if what.write {
            return self.api("writing a contract")?.post(&["contracts", "learn"], what).await;
        }
        match self {
            Self::Api(api) => api.post(&["contracts", "learn"], what).await,
            Self::Store(store) => view::contracts::learn(store, &app.in_force(), what, NOBODY)
                .await
                .map_err(|e| failure(&e)),
        }
    }
}
