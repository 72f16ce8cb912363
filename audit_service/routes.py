"""Endpoints of the audit service."""

from audit_service import exports, queries, verification
from audit_service.schemas import ExportFilter, LogFilter, LogOut, VerificationOut, VerifyFilter
from common.api import Api, Raw, Tenancy, page_of
from common.outbox import record
from common.permissions import Permission as P

api = Api("audit")


@api.get(
    "/audit/logs",
    permission=P.AUDIT_READ,
    query=LogFilter,
    returns=page_of(LogOut),
    tenancy=Tenancy.ORGANIZATION_OR_ALL,
)
def list_logs(session, caller, query):
    """List what happened in the organisation; without one, what the system did."""
    page = queries.find_logs(session, caller, **query)
    record(session, caller, "audit.listed", "audit_logs", queries.asked(query) | {"count": len(page.items)})
    return page


@api.get("/audit/logs/{log_id}", permission=P.AUDIT_READ, returns=LogOut, tenancy=Tenancy.ORGANIZATION_OR_ALL)
def get_log(session, caller, log_id):
    """Get one row of the trail."""
    row = queries.get_log(session, caller, log_id)
    record(session, caller, "audit.read", row)
    return row


@api.get(
    "/audit/export",
    permission=P.AUDIT_EXPORT,
    query=ExportFilter,
    returns=Raw,
    stream=True,
    tenancy=Tenancy.ORGANIZATION_OR_ALL,
)
def export_logs(session, caller, query):
    """Export the trail as NDJSON or CSV; `X-Next-Cursor` of the answer asks for the next page."""
    chosen = query.pop("format")
    page = queries.find_logs(session, caller, **query)
    record(session, caller, "audit.exported", "audit_logs", queries.asked(query) | {"count": len(page.items)})
    return exports.write_page(chosen, page, first=query["cursor"] is None)


@api.get("/audit/verify", permission=P.AUDIT_READ, query=VerifyFilter, returns=VerificationOut, tenancy=Tenancy.ALL)
def verify_chain(session, caller, heads, query):
    """Walk the chain of hashes and say where it breaks; `next_cursor` asks for the next stretch."""
    found = verification.verify(session, heads, **query)
    record(session, caller, "audit.verified", "audit_logs", {"state": found.state, "checked": found.checked})
    return found
