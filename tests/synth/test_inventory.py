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
        "FunctionRefreshCacheQueue": 1_000,
        "FunctionRecordAuditQueue": 11,
    }
    assert {id for id, queue in queues.items() if queue.get("FifoQueue")} == {
        f"Function{name}{kind}" for name in ("RefreshCache", "RecordAudit") for kind in ("Queue", "DeadLetters")
    }
    (note,) = TEMPLATE.notes
    assert note.startswith("refresh_cache: what failed 1,000 times goes to the dead letters")
    functions = of_type(DOCUMENT, "AWS::Lambda::Function")
    assert functions["RefreshCacheFunction"]["Environment"]["Variables"]["INVENTORY_REDIS_URL"] == {
        "Ref": "InventoryRedisUrl"
    }
    mappings = of_type(DOCUMENT, "AWS::Lambda::EventSourceMapping")
    assert mappings["RefreshCacheFunctionMessages"]["EventSourceArn"] == {"Fn::GetAtt": "FunctionRefreshCacheQueue.Arn"}
