"""What was billed, by day."""

from __future__ import annotations

from datetime import date

from podkit.runpod.http import Http
from podkit.runpod.types import Charge


class Billing(Http):
    """The calls about what things have cost."""

    def list_charges(self, since: date) -> list[Charge]:
        """What each pod and network volume was billed for each day (UTC) from `since` up to today.

        Also those that are deleted by now; nothing for a day on which one was not there (API
        document of 2026-08-20). The service refuses a start without an end, whatever the document
        says (seen by three clients, autumn 2026).
        """
        query = {
            "startTime": f"{since}T00:00:00Z",
            "endTime": f"{self.now():%Y-%m-%dT%H:%M:%SZ}",
            "bucketSize": "day",
        }
        of_pods = self.read_list("/billing/pods", "records", Charge.from_api, **query)
        path = "/billing/network-volumes"
        return of_pods + self.read_list(path, "records", Charge.from_api, **query)
