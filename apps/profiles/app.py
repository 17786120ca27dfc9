"""Profiles: what other systems hear of customers. Run it: `afterwrite run apps/profiles/app.py`.

Each system has a queue of its own, so that one that is down holds up nobody but itself; a customer's changes stay in
order in both.
"""

from __future__ import annotations

from afterwrite import App, Change, Effect, Webhook
from profiles import settings
from profiles.news import MARKETING, SHIPPING, news

SETTINGS = settings.read()

app = App("profiles")
customers = app.table("profiles-customers", partition_key="customerId")

# A system that is down is waited for; what it refuses waits, with the customer's later changes, for whoever mends it.
for_marketing = app.queue("profiles-marketing", max_receives=100)
for_marketing.target(
    "tell_marketing", Webhook(SETTINGS.marketing_url, secret=SETTINGS.secret), concurrency=8, exhausted="park"
)
for_shipping = app.queue("profiles-shipping", max_receives=100)
for_shipping.target(
    "tell_shipping", Webhook(SETTINGS.shipping_url, secret=SETTINGS.secret), concurrency=8, exhausted="park"
)


@customers.on(changed=MARKETING)
def propagate_to_marketing(change: Change) -> Effect:
    """Marketing hears of names and e-mail addresses, and of nothing else."""
    return for_marketing.send(news(change, MARKETING))


@customers.on(changed=SHIPPING)
def propagate_to_shipping(change: Change) -> Effect:
    """Shipping hears of names and postal addresses, and of nothing else."""
    return for_shipping.send(news(change, SHIPPING))
