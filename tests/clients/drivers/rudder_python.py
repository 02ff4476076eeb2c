"""Sends events with rudder-sdk-python, and says what it said of each."""

import json
import sys

from rudderstack.analytics.client import Client

options = json.loads(sys.argv[1])
outcomes = {}


def failed(error, batch):
    for event in batch:
        outcomes[event["event"]] = f"{type(error).__name__}: {error}"


client = Client(
    "write-key",
    host=options["url"],
    gzip=options["gzip"],
    timeout=options["timeout"],
    max_retries=options["retries"],
    upload_size=options["group"],
    upload_interval=0.1,
    on_error=failed,
)
for number in range(options["count"]):
    event = f"event-{number}"
    outcomes[event] = "ok"
    client.track("user", event, {"number": number})
client.flush()
client.shutdown()
print(json.dumps(outcomes))
