"""Inventory's template: functions that are tried more often than an invocation is, behind queues in order per key."""

from __future__ import annotations

from cfnlint.api import lint

from afterwrite.synth import cloudformation
from afterwrite.synth.stack import Options
from afterwrite.synth.template import synth
from inventory.app import app
from synth.documents import of_type, parsed

TEMPLATE = synth(app, Options(environment=("INVENTORY_REDIS_URL",)))
DOCUMENT = parsed(TEMPLATE)


def test_the_linter_finds_nothing() -> None:
    found = lint(cloudformation.render(TEMPLATE))
    assert [f"{match.rule.id} {match.message}" for match in found] == []


def test_functions_are_fed_by_fifo_queues_with_as_many_attempts_as_sqs_counts() -> None:
    """S33, S35"""
    queues = of_type(DOCUMENT, "AWS::SQS::Queue")
    receives = {
        id: queue["RedrivePolicy"]["maxReceiveCount"] for id, queue in queues.items() if "RedrivePolicy" in queue
    }
    assert receives == {
        "InventoryPurchasingQueue": 5,
        "FunctionRecordAuditQueue": 11,
    }
    assert {id for id, queue in queues.items() if queue.get("FifoQueue")} == {
        f"FunctionRecordAudit{kind}" for kind in ("Queue", "DeadLetters")
    }
    (note,) = TEMPLATE.notes
    assert note.startswith("inventory: the functions of routes reach a cache in a VPC only from its subnets")
    assert "InventoryCacheUrl" in DOCUMENT["Parameters"]
    mappings = of_type(DOCUMENT, "AWS::Lambda::EventSourceMapping")
    assert mappings["RecordAuditFunctionMessages"]["EventSourceArn"] == {"Fn::GetAtt": "FunctionRecordAuditQueue.Arn"}
