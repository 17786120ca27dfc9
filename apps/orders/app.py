"""Orders: what customers are told of their orders. Run it: `afterwrite run apps/orders/app.py`.

The route says that there is something to tell, and not before when; the consumer, which may ask the customer's table,
whether it is wanted, by which way, and in which words.
"""

from __future__ import annotations

from afterwrite import INSERT, MODIFY, App, Change, Context, Effect, Email, Message, Sms
from orders import settings
from orders.notices import Notifier, notice
from orders.quiet import wait_s

SETTINGS = settings.read()
EMAILS = Email(SETTINGS.mail_url, sender=SETTINGS.mail_sender)
TEXTS = Sms(sender_id=SETTINGS.text_sender)
NOTIFIER = Notifier(EMAILS.send, TEXTS.send)

app = App("orders")
orders = app.table("orders-orders", partition_key="orderId")
customers = app.table("orders-customers", partition_key="customerId")
notices = app.queue("orders-notices", max_receives=20)


# `changed` makes it once for each transition: an order that is written again with the same status says nothing new.
@orders.on(INSERT, MODIFY, changed="status", new={"status": ["shipped", "delivered"]})
def tell_customer(change: Change) -> Effect:
    """A notice for each transition, held until the customer's quiet hours end."""
    return notices.send(notice(change), delay_s=wait_s((change.new or {}).get("quietHours"), change.created_at_ms))


@notices.consumer(concurrency=8, exhausted="park", sends=[EMAILS, TEXTS])
def notify(message: Message, context: Context) -> str:
    """Tell the customer, if they want to be told; the notice's id lets a mail server know it again."""
    customer = context.table(customers).get({"customerId": message.body["customerId"]})
    return NOTIFIER.tell(message.id, message.body, customer)
