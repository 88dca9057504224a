//! `/admin/layout`: what operators do to the layout.

use super::answer::{self, Response};
use super::problem::{Code, Problem};
use crate::node::{ApplyError, Transfers};
use crate::ring::ChangeError;
use crate::runtime::layout_desk::{ChangeRequest, DeskError, LayoutDesk};
use hyper::StatusCode;
use serde_json::json;

/// Longest request of an operator: one change.
pub(super) const MAX_CHANGE_BYTES: usize = 64 << 10;

/// `GET /admin/layout`
pub(super) fn report(desk: &LayoutDesk) -> Response {
    answer::json(StatusCode::OK, &desk.report())
}

/// `GET /admin/layout/plan`
pub(super) fn plan(desk: &LayoutDesk) -> Result<Response, Problem> {
    desk.plan().map(|plan| answer::json(StatusCode::OK, &plan)).map_err(problem_of)
}

/// `POST /admin/layout/changes`
pub(super) fn stage(desk: &LayoutDesk, body: &[u8]) -> Result<Response, Problem> {
    let request: ChangeRequest = serde_json::from_slice(body)
        .map_err(|error| Problem::new(Code::RequestMalformed, format!("not a change of the layout: {error}")))?;
    desk.stage(&request).map_err(problem_of)?;
    Ok(answer::json(StatusCode::OK, &json!({"staged": desk.report().staged})))
}

/// `DELETE /admin/layout/changes`
pub(super) fn abort(desk: &LayoutDesk) -> Response {
    desk.abort();
    answer::json(StatusCode::OK, &json!({"staged": null}))
}

/// `POST /admin/layout/apply`
pub(super) async fn apply(desk: &LayoutDesk) -> Result<Response, Problem> {
    let version = desk.apply().await.map_err(problem_of)?;
    Ok(answer::json(StatusCode::OK, &json!({"layout_version": version})))
}

/// `POST /admin/layout/pause`, `POST /admin/layout/resume`
pub(super) async fn order(desk: &LayoutDesk, transfers: Transfers) -> Result<Response, Problem> {
    desk.order(transfers).await.map_err(problem_of)?;
    Ok(answer::json(StatusCode::OK, &json!({"transfers": transfers})))
}

#[allow(clippy::needless_pass_by_value, reason = "made for map_err")]
fn problem_of(error: DeskError) -> Problem {
    let code = match &error {
        DeskError::Change(ChangeError::Outdated { .. }) => Code::PreconditionFailed,
        DeskError::Unknown { .. } | DeskError::Change(_) => Code::ParameterInvalid,
        DeskError::Ending => Code::NotReady,
        DeskError::Apply(error) => match error {
            ApplyError::Stale { .. } | ApplyError::Lost { .. } | ApplyError::Unrelated { .. } => {
                Code::PreconditionFailed
            }
            ApplyError::Invalid(_) => Code::ParameterInvalid,
            ApplyError::TooManyLive | ApplyError::Ending | ApplyError::Busy | ApplyError::NoMajority { .. } => {
                Code::NotReady
            }
            ApplyError::OutcomeUnknown { .. } => Code::OutcomeUnknown,
        },
    };
    let problem = Problem::new(code, error.to_string());
    if code == Code::OutcomeUnknown { problem.with("in_doubt", true) } else { problem }
}
