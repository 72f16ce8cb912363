"""Endpoints of the device service."""

from common.api import Api, page_of
from common.outbox import record
from common.pagination import PageFilter
from common.permissions import Permission as P
from device_service import actions, credentials, queries
from device_service.schemas import (
    AssignmentEnd,
    AssignmentIn,
    AssignmentOut,
    BindingIn,
    BindingOut,
    DeviceChange,
    DeviceFilter,
    DeviceIn,
    DeviceOut,
    DeviceTypeIn,
    DeviceTypeOut,
    HealthIn,
    HealthOut,
    PairingCodeOut,
    StreamFilter,
    StreamIn,
    StreamOut,
)

api = Api("devices")
patients = Api("devices on patients", care=True)


@api.post(
    "/device-types",
    permission=P.DEVICE_WRITE,
    body=DeviceTypeIn,
    returns=DeviceTypeOut,
    creates="/device-types/{id}",
)
def create_device_type(session, caller, body):
    """Create a device type of the organisation's own."""
    return actions.create_device_type(session, caller, **body)


@api.get("/device-types", permission=P.DEVICE_READ, query=PageFilter, returns=page_of(DeviceTypeOut))
def list_device_types(session, caller, query):
    """List the device types: the shared ones and the organisation's own."""
    return queries.find_device_types(session, caller, **query)


@api.get("/device-types/{device_type_id}", permission=P.DEVICE_READ, returns=DeviceTypeOut)
def get_device_type(session, caller, device_type_id):
    """Get one device type."""
    return queries.get_device_type(session, caller, device_type_id)


@api.put("/device-types/{device_type_id}", permission=P.DEVICE_WRITE, body=DeviceTypeIn, returns=DeviceTypeOut)
def change_device_type(session, caller, device_type_id, body):
    """Replace a device type of the organisation's own."""
    return actions.change_device_type(session, caller, device_type_id, **body)


@api.delete("/device-types/{device_type_id}", permission=P.DEVICE_WRITE)
def remove_device_type(session, caller, device_type_id):
    """Remove a device type of the organisation's own that no device has."""
    actions.remove_device_type(session, caller, device_type_id)


@api.post("/devices", permission=P.DEVICE_WRITE, body=DeviceIn, returns=DeviceOut, creates="/devices/{id}")
def register_device(session, caller, body):
    """Register a device."""
    return actions.register_device(session, caller, **body)


@api.get("/devices", permission=P.DEVICE_READ, query=DeviceFilter, returns=page_of(DeviceOut))
def list_devices(session, caller, query):
    """List the organisation's devices."""
    return queries.find_devices(session, caller, **query)


@api.get("/devices/{device_id}", permission=P.DEVICE_READ, returns=DeviceOut)
def get_device(session, caller, device_id):
    """Get one device."""
    return queries.get_device(session, caller, device_id)


@api.patch("/devices/{device_id}", permission=P.DEVICE_WRITE, body=DeviceChange, returns=DeviceOut)
def change_device(session, caller, device_id, body):
    """Change some fields of a device."""
    return actions.change_device(session, caller, device_id, **body)


@api.delete("/devices/{device_id}", permission=P.DEVICE_WRITE)
def remove_device(session, caller, device_id):
    """Remove a device that never had a stream."""
    actions.remove_device(session, caller, device_id)


def ask_for_pairing_code(database, client, caller, onward_key, device_id):
    """The code that the auth service issues."""
    return credentials.ask_for_pairing_code(database, client, caller, onward_key, device_id)


@api.post(
    "/devices/{device_id}/pairing-code",
    permission=P.DEVICE_WRITE,
    returns=PairingCodeOut,
    prepare=ask_for_pairing_code,
)
def issue_pairing_code(session, caller, prepared, device_id):
    """Issue a code with which the device gets tokens of its own, once, within ten minutes."""
    record(session, caller, "device.pairing_requested", f"devices:{device_id}")
    return prepared


@api.delete("/devices/{device_id}/credentials", permission=P.DEVICE_WRITE)
def revoke_credentials(database, client, caller, device_id):
    """Refuse the tokens of a device from now on, until it is paired again."""
    credentials.revoke_credentials(database, client, caller, device_id)


def check_patient(client, caller, body):
    """Whether the patient is in the caller's reach."""
    actions.check_patient(client, caller, body["patient_id"])


@patients.post(
    "/devices/{device_id}/assignments",
    permission=P.DEVICE_WRITE,
    body=AssignmentIn,
    returns=AssignmentOut,
    creates="/devices/{device_id}/assignments/{id}",
    prepare=check_patient,
)
def assign_device(session, caller, device_id, body):
    """Put a device on a patient for a time."""
    return actions.assign_device(session, caller, device_id, **body)


@patients.get(
    "/devices/{device_id}/assignments", permission=P.DEVICE_READ, query=PageFilter, returns=page_of(AssignmentOut)
)
def list_assignments(session, caller, device_id, query):
    """List the assignments of a device."""
    page = queries.find_assignments(session, caller, device_id, **query)
    record(session, caller, "device.assignments_listed", f"devices:{device_id}")
    return page


@patients.get("/devices/{device_id}/assignments/{assignment_id}", permission=P.DEVICE_READ, returns=AssignmentOut)
def get_assignment(session, caller, device_id, assignment_id):
    """Get one assignment of a device."""
    assignment = queries.get_assignment(session, caller, device_id, assignment_id)
    record(session, caller, "device.assignment_read", f"devices:{device_id}")
    return assignment


@patients.post(
    "/devices/{device_id}/assignments/{assignment_id}/end",
    permission=P.DEVICE_WRITE,
    body=AssignmentEnd,
    returns=AssignmentOut,
)
def end_assignment(session, caller, device_id, assignment_id, body):
    """Take a device off a patient, and end its streams on them."""
    return actions.end_assignment(session, caller, device_id, assignment_id, **body)


@api.post(
    "/devices/{device_id}/health",
    permission=P.DEVICE_WRITE,
    body=HealthIn,
    returns=HealthOut,
    creates="/devices/{device_id}/health",
)
def report_health(session, caller, device_id, body):
    """Note what a device says about its own state."""
    return actions.report_health(session, caller, device_id, **body)


@api.get("/devices/{device_id}/health", permission=P.DEVICE_READ, query=PageFilter, returns=page_of(HealthOut))
def list_health(session, caller, device_id, query):
    """List the reports of a device's state, newest first."""
    return queries.find_health(session, caller, device_id, **query)


@patients.post(
    "/devices/{device_id}/streams",
    permission=P.DEVICE_WRITE,
    body=StreamIn,
    returns=StreamOut,
    creates="/streams/{id}",
)
def open_stream(session, caller, device_id, body):
    """Open a stream on the patient who has the device."""
    return actions.open_stream(session, caller, device_id, **body)


@patients.get("/devices/{device_id}/streams", permission=P.DEVICE_READ, query=StreamFilter, returns=page_of(StreamOut))
def list_device_streams(session, caller, device_id, query):
    """List the streams of a device."""
    page = queries.find_streams(session, caller, device_id=device_id, **query)
    record(session, caller, "signal_stream.listed", f"devices:{device_id}", {"count": len(page.items)})
    return page


@patients.get("/streams", permission=P.DEVICE_READ, query=StreamFilter, returns=page_of(StreamOut))
def list_streams(session, caller, query):
    """List the organisation's streams, for example those of one patient."""
    page = queries.find_streams(session, caller, **query)
    record(session, caller, "signal_stream.listed", "signal_streams", {"count": len(page.items)})
    return page


@patients.get("/streams/{stream_id}", permission=P.DEVICE_READ, returns=StreamOut)
def get_stream(session, caller, stream_id):
    """Get one stream."""
    stream = queries.get_stream(session, caller, stream_id)
    record(session, caller, "signal_stream.read", stream)
    return stream


@patients.post("/streams/{stream_id}/end", permission=P.DEVICE_WRITE, body=AssignmentEnd, returns=StreamOut)
def end_stream(session, caller, stream_id, body):
    """End a stream: it takes no samples after that."""
    return actions.end_stream(session, caller, stream_id, **body)


@patients.post(
    "/streams/{stream_id}/bindings",
    permission=P.DEVICE_WRITE,
    body=BindingIn,
    returns=BindingOut,
    creates="/streams/{stream_id}/bindings",
)
def bind_stream(session, caller, stream_id, body):
    """Say where a stream's samples are kept, so that they can be written and watched."""
    return actions.bind_stream(session, caller, stream_id, **body)


@patients.get("/streams/{stream_id}/bindings", permission=P.DEVICE_READ, query=PageFilter, returns=page_of(BindingOut))
def list_bindings(session, caller, stream_id, query):
    """List where a stream's samples are kept."""
    page = queries.find_bindings(session, caller, stream_id, **query)
    if not caller.is_service:  # the time-series service asks for itself, not for a person who looks
        record(session, caller, "signal_stream.read", f"signal_streams:{stream_id}")
    return page
