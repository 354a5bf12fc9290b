"""What bulk queries and bulk ingest of the Salesforce simulator share: the jobs and how they are told of."""

from __future__ import annotations

from typing import Any

from switchyard.testing.simulator import Request
from switchyard.testing.simulator_jobs import Job, Jobs, JobStates
from switchyard_connectors.salesforce.simulator_org import DAY, USER, absent, refusal, stamp

PREFIX = "750"
QUERY = JobStates("UploadComplete", "UploadComplete", "InProgress", "JobComplete", "Failed", "Aborted")
INGEST = JobStates("Open", "UploadComplete", "InProgress", "JobComplete", "Failed", "Aborted")
KEPT = 7 * DAY


def found(jobs: Jobs, request: Request, kind: str) -> Job[Any]:
    """The job that the request names. Raises the 404 of one that is not there (any more)."""
    job = jobs.find(request.params["job"])
    if job is None or job.kind != kind:
        raise absent()
    return job


def told(job: Job[Any], **more: Any) -> dict[str, Any]:
    """What is told of every job (vendor documentation, Bulk API 2.0)."""
    changed = next(at for at in (job.ended, job.started, job.queued, job.created) if at is not None)
    body = {
        "id": job.id,
        "createdById": USER,
        "createdDate": stamp(job.created),
        "systemModstamp": stamp(changed),
        "state": job.state,
        "concurrencyMode": "Parallel",
        "contentType": "CSV",
        **more,
    }
    if job.over:
        begun = job.created if job.started is None else job.started
        body["totalProcessingTime"] = int(((job.ended or begun) - begun) * 1000)
        body["retries"] = 0
    if job.error is not None:
        body["errorMessage"] = job.error
    return body


def invalid(message: str) -> Exception:
    return refusal(400, "INVALIDJOB", message)
