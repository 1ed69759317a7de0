"""Uses the client that openapi-python-client generated: generated.py API TOKEN URL."""

import json
import sys
import time
from datetime import datetime, timedelta, timezone

from homing_client import AuthenticatedClient
from homing_client.api.attempts import get_attempt, list_attempts
from homing_client.api.events import explain_event, list_events, publish_event
from homing_client.api.parked import list_parked, replay_parked
from homing_client.api.subscriptions import create_subscription, delete_subscription, list_subscriptions
from homing_client.api.tokens import create_token, delete_token, list_tokens
from homing_client.models import (
    ApiTokenWanted,
    CreatedSubscription,
    ListAttemptsOutcome,
    ListEventsState,
    ParkedSelection,
    ParkReason,
    Problem,
    Scope,
    SubscriptionDraft,
)

api, token, url = sys.argv[1:]
client = AuthenticatedClient(base_url=api, token=token, timeout=30)

draft = SubscriptionDraft(url=url, topics=["python.*"], description="from Python")
created = create_subscription.sync(client=client, body=draft)
assert isinstance(created, CreatedSubscription), created
assert created.secret.startswith("whsec_"), created
assert abs(datetime.now(timezone.utc) - created.created) < timedelta(minutes=1), created.created
same = create_subscription.sync(client=client, body=draft)
assert isinstance(same, Problem) and same.status == 409, same

# Workers follow a change within a second; an event that comes before is for none.
time.sleep(2)
published = publish_event.sync(client=client, topic="python.paid", id="python-1", body={"amount": 3})
assert published.id == "python-1" and published.topic == "python.paid", published

deadline = time.monotonic() + 30
while True:
    page = list_events.sync(client=client, state=ListEventsState.PARKED, topic="python.paid")
    if page.events:
        break
    assert time.monotonic() < deadline, page
    time.sleep(0.1)
[event] = page.events
assert event.event == "python-1" and event.deliveries == 1, event
assert event.states.additional_properties == {"parked": 1}, event.states

hour_ago = datetime.now(timezone.utc) - timedelta(hours=1)
failed = list_attempts.sync(client=client, outcome=ListAttemptsOutcome.FAILED, since=hour_ago, event="python-1")
attempt = get_attempt.sync(failed.attempts[0].id, client=client)
assert attempt.status == 503 and json.loads(attempt.payload.request.body) == {"amount": 3}, attempt
explained = explain_event.sync("python-1", client=client, payloads=True)
assert explained.deliveries[0].attempts[0].payload is not None, explained

parked = list_parked.sync(client=client, event="python-1", reason=ParkReason.EXHAUSTED)
assert parked.entries[0].event == "python-1" and isinstance(parked.entries[0].parked, datetime), parked
counted = replay_parked.sync(client=client, body=ParkedSelection(event="python-1", dry_run=True))
assert counted.matched == 1, counted

made = create_token.sync(client=client, body=ApiTokenWanted(name="python", scope=Scope.READ))
assert made.token.startswith("homing_"), made
# It is accepted within a second.
time.sleep(2)
reader = AuthenticatedClient(base_url=api, token=made.token)
assert created.id in [one.id for one in list_subscriptions.sync(client=reader).subscriptions]
refused = list_tokens.sync(client=reader)
assert isinstance(refused, Problem) and refused.status == 403, refused
delete_token.sync_detailed("python", client=client)
assert "python" not in [one.name for one in list_tokens.sync(client=client).tokens]

assert delete_subscription.sync_detailed(created.id, client=client).status_code == 204
print("done")
