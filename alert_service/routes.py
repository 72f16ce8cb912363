"""Endpoints of the alert service."""

from alert_service import actions, queries
from alert_service.models import AlertChannel, AlertLevel, AlertStatus, AlertType, RiskLevel
from alert_service.schemas import (
    AlertFilter,
    AlertIn,
    AlertOut,
    AlertTypeOut,
    AssignmentIn,
    CatalogueEntryOut,
    EscalationIn,
    PolicyIn,
    PolicyOut,
    ResolutionIn,
    ShelvingIn,
    StepIn,
    TimelineStepOut,
)
from common.api import Api, page_of
from common.outbox import record
from common.pagination import Page, PageFilter
from common.permissions import AUTHENTICATED
from common.permissions import Permission as P

alerts = Api("alerts", care=True)
policies = Api("alert policies")
catalogues = Api("alert catalogues")


@alerts.post("/alerts", permission=P.ALERT_WRITE, body=AlertIn, returns=AlertOut, creates="/alerts/{id}")
def create_alert(session, caller, body):
    """Raise an alert by hand."""
    return actions.create_alert(session, caller, **body)


@alerts.get("/alerts", permission=P.ALERT_READ, query=AlertFilter, returns=page_of(AlertOut))
def list_alerts(session, caller, query):
    """List the alerts the caller may see."""
    page = queries.find_alerts(session, caller, **query)
    record(session, caller, "alert.listed", "alerts", {"count": len(page.items)})
    return page


@alerts.get("/alerts/{alert_id}", permission=P.ALERT_READ, returns=AlertOut)
def get_alert(session, caller, alert_id):
    """Get one alert."""
    alert = queries.get_alert(session, caller, alert_id)
    record(session, caller, "alert.read", alert)
    return alert


@alerts.get("/alerts/{alert_id}/timeline", permission=P.ALERT_READ, returns=page_of(TimelineStepOut))
def get_timeline(session, caller, alert_id):
    """Get every step of an alert's life: when, by whom, and how long after the observation."""
    steps = queries.get_timeline(session, caller, alert_id)
    record(session, caller, "alert.timeline_read", f"alerts:{alert_id}")
    return Page(steps, queries.MAX_STEPS)


@alerts.post("/alerts/{alert_id}/ack", permission=P.ALERT_ACK, body=StepIn, returns=AlertOut, rate_class="ack")
def acknowledge_alert(session, caller, alert_id, body):
    """Acknowledge an alert: it escalates no more."""
    return actions.acknowledge(session, caller, alert_id, **body)


@alerts.post("/alerts/{alert_id}/assign", permission=P.ALERT_MANAGE, body=AssignmentIn, returns=AlertOut)
def assign_alert(session, caller, alert_id, body):
    """Make somebody responsible for an alert."""
    return actions.assign(session, caller, alert_id, **body)


@alerts.post("/alerts/{alert_id}/resolve", permission=P.ALERT_MANAGE, body=ResolutionIn, returns=AlertOut)
def resolve_alert(session, caller, alert_id, body):
    """End an acknowledged alert."""
    return actions.resolve(session, caller, alert_id, **body)


@alerts.post("/alerts/{alert_id}/close", permission=P.ALERT_MANAGE, body=StepIn, returns=AlertOut)
def close_alert(session, caller, alert_id, body):
    """Put a resolved alert away."""
    return actions.close(session, caller, alert_id, **body)


@alerts.post("/alerts/{alert_id}/escalate", permission=P.ALERT_MANAGE, body=EscalationIn, returns=AlertOut)
def escalate_alert(session, caller, alert_id, body):
    """Page again, at a higher level when one is given."""
    return actions.escalate(session, caller, alert_id, **body)


@alerts.post("/alerts/{alert_id}/shelve", permission=P.ALERT_MANAGE, body=ShelvingIn, returns=AlertOut)
def shelve_alert(session, caller, alert_id, body):
    """Silence an alert, and others like it, for a bounded time."""
    return actions.shelve(session, caller, alert_id, **body)


@policies.post(
    "/alert-policies", permission=P.ALERT_MANAGE, body=PolicyIn, returns=PolicyOut, creates="/alert-policies/{id}"
)
def create_policy(session, caller, body):
    """Give the organisation a policy."""
    return actions.create_policy(session, caller, **body)


@policies.get("/alert-policies", permission=P.ALERT_READ, query=PageFilter, returns=page_of(PolicyOut))
def list_policies(session, caller, query):
    """List the organisation's policies and the suite's default."""
    return queries.find_policies(session, caller, **query)


@policies.get("/alert-policies/{policy_id}", permission=P.ALERT_READ, returns=PolicyOut)
def get_policy(session, caller, policy_id):
    """Get one policy."""
    return queries.get_policy(session, caller, policy_id)


@policies.put("/alert-policies/{policy_id}", permission=P.ALERT_MANAGE, body=PolicyIn, returns=PolicyOut)
def replace_policy(session, caller, policy_id, body):
    """Replace a policy of the organisation."""
    return actions.replace_policy(session, caller, policy_id, **body)


@policies.delete("/alert-policies/{policy_id}", permission=P.ALERT_MANAGE)
def remove_policy(session, caller, policy_id):
    """Remove a policy of the organisation."""
    actions.remove_policy(session, caller, policy_id)


@catalogues.get("/alert-levels", permission=AUTHENTICATED, returns=page_of(CatalogueEntryOut))
def list_alert_levels(session):
    """List the levels of alerts."""
    return queries.find_catalogue(session, AlertLevel)


@catalogues.get("/alert-statuses", permission=AUTHENTICATED, returns=page_of(CatalogueEntryOut))
def list_alert_statuses(session):
    """List the states of alerts."""
    return queries.find_catalogue(session, AlertStatus)


@catalogues.get("/alert-channels", permission=AUTHENTICATED, returns=page_of(CatalogueEntryOut))
def list_alert_channels(session):
    """List the ways to tell somebody."""
    return queries.find_catalogue(session, AlertChannel)


@catalogues.get("/alert-types", permission=AUTHENTICATED, returns=page_of(AlertTypeOut))
def list_alert_types(session):
    """List the types of alerts and their levels."""
    return queries.find_catalogue(session, AlertType)


@catalogues.get("/risk-levels", permission=AUTHENTICATED, returns=page_of(CatalogueEntryOut))
def list_risk_levels(session):
    """List the risk levels of patients."""
    return queries.find_catalogue(session, RiskLevel)
