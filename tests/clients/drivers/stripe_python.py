"""Makes charges and payment intents with stripe for Python, and says what it said of each."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import stripe

options = json.loads(sys.argv[1])
stripe.enable_telemetry = False
client = stripe.StripeClient(
    "sk_test_key",
    base_addresses={"api": options["url"]},
    max_network_retries=options["retries"],
    http_client=stripe.RequestsClient(timeout=options["timeout"]),
)


def pay(number):
    service = [client.v1.charges, client.v1.payment_intents][number % 2]
    name = f"order-{number}"
    params = {"amount": 1000 + number, "currency": "eur", "metadata": {"order": name}}
    try:
        made = service.create(params)
        return name, "ok" if made.id == name else f"not a payment: {made}"
    except stripe.StripeError as error:
        return name, f"{type(error).__name__} {error.http_status}: {error}"


with ThreadPoolExecutor() as pool:
    print(json.dumps(dict(pool.map(pay, range(options["count"])))))
