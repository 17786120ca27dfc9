"""Batches of changes through the handler: what arrives, what comes again, what is parked, and what nobody may read."""

from __future__ import annotations

import json
import random
from typing import Any

import orjson
import pytest

from afterwrite.core import target_failures
from afterwrite.synth.template import synth
from aws_lambda.conftest import Deployed, Remaining
from bounds import BOUND_S
from faulty_proxy import Fault, FaultyProxy
from lambda_events import dynamodb_record, kinesis_record

ALL_DONE: dict[str, Any] = {"batchItemFailures": []}


def batch(*keys: str, first: int = 1, **attributes: Any) -> list[dict[str, Any]]:
    """Records, numbered from `first`, one a letter; a capital letter's is poison."""
    return [
        dynamodb_record(number, key.lower(), **({"poison": "secret-word"} if key.isupper() else {}), **attributes)
        for number, key in enumerate(keys, first)
    ]


def again_from(number: int) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": str(number)}]}


def fails(proxy: FaultyProxy, fault: Fault, *numbers: int, times: int = 1_000) -> None:
    """Let a fault happen to the messages of these numbers, so many times."""
    left = dict.fromkeys(numbers, times)

    def fault_of(entry: str) -> Fault | None:
        number = orjson.loads(orjson.loads(entry)["MessageBody"])["number"]
        if left.get(number, 0) < 1:
            return None
        left[number] -= 1
        return fault

    proxy.fault_of = fault_of


def test_a_batch_whose_effects_are_all_performed_is_done_s2(deployed: Deployed) -> None:
    handle = deployed.handler()
    assert handle({"Records": batch(*"abcabc")}, Remaining()) == ALL_DONE
    assert sorted(deployed.sent()) == [("a", 1), ("a", 4), ("b", 2), ("b", 5), ("c", 3), ("c", 6)]
    assert handle({"Records": []}, Remaining()) == ALL_DONE


def test_a_failed_entry_holds_back_its_lane_only_and_is_sent_again_before_it_s28(
    deployed: Deployed, proxy: FaultyProxy
) -> None:
    fails(proxy, "fails", 1, times=2)
    assert deployed.handler()({"Records": batch(*"ababab")}, Remaining()) == ALL_DONE
    sent = deployed.sent()
    assert [number for key, number in sent if key == "a"] == [1, 3, 5]
    assert [number for key, number in sent if key == "b"] == [2, 4, 6]


@pytest.mark.parametrize("fault", ["throttled", "unavailable", "answer lost"])
def test_a_request_that_fails_as_a_whole_is_made_again(deployed: Deployed, proxy: FaultyProxy, fault: Fault) -> None:
    fails(proxy, fault, 1, times=1)
    assert deployed.handler()({"Records": batch(*"aba")}, Remaining()) == ALL_DONE
    sent = deployed.sent()
    assert set(sent) == {("a", 1), ("b", 2), ("a", 3)}
    assert [number for key, number in dict.fromkeys(sent) if key == "a"] == [1, 3]


def test_without_a_journal_the_lowest_failure_is_reported_and_what_is_behind_it_repeated_s1(
    deployed: Deployed, proxy: FaultyProxy
) -> None:
    fails(proxy, "refused", 3)
    records = batch(*"abcdab")
    handle = deployed.handler()
    assert handle({"Records": records}, Remaining()) == again_from(3)
    assert handle({"Records": records[2:]}, Remaining()) == again_from(3)
    fails(proxy, "refused")
    assert handle({"Records": records[2:]}, Remaining()) == ALL_DONE
    numbers = [number for _, number in deployed.sent()]
    assert {number: numbers.count(number) for number in range(1, 7)} == {1: 1, 2: 1, 3: 1, 4: 3, 5: 3, 6: 3}


def test_with_a_journal_nothing_is_repeated(deployed: Deployed, proxy: FaultyProxy) -> None:
    deployed.keep_journal()
    fails(proxy, "fails", 3)
    records = batch(*"abcdabc")
    assert deployed.handler()({"Records": records}, Remaining()) == again_from(3)
    fails(proxy, "fails")
    assert deployed.handler()({"Records": records[2:]}, Remaining()) == ALL_DONE, "in another process"
    sent = deployed.sent()
    assert sorted(number for _, number in sent) == [1, 2, 3, 4, 5, 6, 7]
    assert [number for key, number in sent if key == "c"] == [3, 7]


def test_what_is_behind_a_record_that_cannot_be_read_is_not_repeated_and_the_record_may_be_given_again(
    deployed: Deployed, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed.keep_journal()
    records = batch(*"abca")
    unreadable = {**records[1], "dynamodb": {"SequenceNumber": "2"}}
    delivered = {"Records": [records[0], unreadable, *records[2:]]}
    handle = deployed.handler()
    assert handle(delivered, Remaining()) == again_from(2)
    assert handle({"Records": delivered["Records"][1:]}, Remaining()) == again_from(2)
    capsys.readouterr()
    assert handle({"Records": [unreadable]}, Remaining()) == again_from(2)
    (line,) = map(orjson.loads, capsys.readouterr().out.splitlines())
    assert (line["level"], line["event"], line["record"]) == ("ERROR", "record cannot be read", "2")
    assert deployed.handler()({"Records": [records[1]]}, Remaining()) == ALL_DONE, "once it can be read"
    assert sorted(deployed.sent()) == [("a", 1), ("a", 4), ("b", 2), ("c", 3)]


def test_a_lane_that_fails_for_good_is_parked_with_its_later_changes_and_the_shard_moves_on(
    deployed: Deployed,
) -> None:
    deployed.keep_journal()
    assert deployed.handler()({"Records": batch(*"aBbab")}, Remaining()) == ALL_DONE
    assert deployed.handler()({"Records": batch(*"bab", first=6)}, Remaining()) == ALL_DONE
    assert sorted(deployed.sent()) == [("a", 1), ("a", 4), ("a", 7)]
    changes = [item for item in deployed.parked() if item["sk"]["S"] != "LANE"]
    assert [int(item["sk"]["S"].partition("#")[0]) for item in changes] == [2, 3, 5, 6, 8]
    (failure,) = [json.loads(item["failure"]["S"]) for item in changes if "failure" in item]
    assert failure["reason"].startswith("RouteFailed: route send_number: ValueError: cannot take secret-word (at ")
    assert (failure["kind"], failure["raised_by"]) == ("bug", "send_number")


def test_a_parked_lane_is_redriven_in_order_once_its_route_is_mended(deployed: Deployed) -> None:
    deployed.keep_journal()
    deployed.handler()({"Records": batch(*"aBbC")}, Remaining())
    handle = deployed.handler()
    redrive = {"afterwrite": {"redrive": {"table": "things"}}}
    assert handle(redrive, Remaining()) == {"performed": 0, "lanes": 2, "still_parked": 2}
    deployed.sent()
    mend_route(deployed, lambda change: deployed.queue.send({"key": "-", "number": 0}))
    handle = deployed.handler()
    one = {"afterwrite": {"redrive": {"table": "things", "lanes": ["things/c"]}}}
    assert handle(one, Remaining()) == {"performed": 1, "lanes": 1, "still_parked": 0}
    assert handle(redrive, Remaining()) == {"performed": 2, "lanes": 1, "still_parked": 0}
    assert deployed.parked() == []
    assert len(deployed.sent()) == 3
    assert handle({"Records": batch("b", first=9)}, Remaining()) == ALL_DONE
    assert len(deployed.sent()) == 1


def test_a_redrive_whose_time_is_up_asks_for_no_more_lanes(deployed: Deployed) -> None:
    deployed.keep_journal()
    handle = deployed.handler()
    assert handle({"Records": batch(*"ABC")}, Remaining()) == ALL_DONE
    redrive = {"afterwrite": {"redrive": {"table": "things"}}}
    assert handle(redrive, Remaining(ms=100)) == {"performed": 0, "lanes": 3, "still_parked": 3}
    assert deployed.ledger() == [], "a lane that is asked for leaves a record"


def test_what_an_outage_has_parked_is_redriven_on_a_schedule_and_nothing_that_would_fail_again(
    deployed: Deployed, proxy: FaultyProxy, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed.keep_journal()
    park_by_outage(deployed, proxy, "a", "b", "c")
    assert deployed.handler()({"Records": batch("D", first=9)}, Remaining()) == ALL_DONE
    scheduled = schedule_of(deployed)
    capsys.readouterr()
    assert deployed.handler()(scheduled, Remaining(ms=2_500)) == {"performed": 0, "lanes": 4, "still_parked": 4}
    lines = [orjson.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines if "event" in line] == ["effect failed"], "one lane is tried for all"
    assert [line["LanesStillParked"] for line in lines if "_aws" in line] == [4]
    fails(proxy, "fails")
    assert deployed.handler()(scheduled, Remaining()) == {"performed": 3, "lanes": 4, "still_parked": 1}
    assert sorted(deployed.sent()) == [("a", 1), ("b", 2), ("c", 3)]
    assert {item["lane"]["S"] for item in deployed.parked() if "lane" in item} == {"things/d"}


def park_by_outage(deployed: Deployed, proxy: FaultyProxy, *keys: str) -> None:
    """Park a change of each key by a target that is down, and stays so."""
    handle, records = deployed.handler(), batch(*keys)
    fails(proxy, "fails", *range(1, len(keys) + 1))
    for _ in range(target_failures.DELIVERIES_MAX):
        answer = handle({"Records": records}, Remaining(ms=2_500))
    assert answer == ALL_DONE
    assert len(deployed.parked()) == 2 * len(keys)


def schedule_of(deployed: Deployed) -> Any:
    """What the template's schedule gives to the function."""
    (rule,) = (each for each in synth(deployed.app).resources if each.id == "ThingsRedriveRule")
    return rule.properties["Targets"][0]["Input"].value


def test_a_lane_that_fails_again_in_a_redrive_says_why(deployed: Deployed, proxy: FaultyProxy) -> None:
    deployed.keep_journal()
    fails(proxy, "refused", 2)
    assert deployed.handler()({"Records": batch(*"Aa")}, Remaining()) == ALL_DONE
    mend_route(deployed, lambda change: deployed.queue.send({"key": "a", "number": int(change.keys["sk"])}))
    redrive = {"afterwrite": {"redrive": {"table": "things"}}}
    assert deployed.handler()(redrive, Remaining()) == {"performed": 1, "lanes": 1, "still_parked": 1}
    (change,) = (item for item in deployed.parked() if item["sk"]["S"] != "LANE")
    failure = json.loads(change["failure"]["S"])
    assert (failure["kind"], failure["raised_by"]) == ("rejected", "queue/numbers")
    assert change["attempts"]["N"] == "1"


def mend_route(deployed: Deployed, route: Any) -> None:
    """Let the route send_number do something else."""
    old = deployed.things.routes[0]
    deployed.things.routes[0] = type(old)(old.name, old.table, old.guard, route)


def test_what_is_rejected_is_parked_at_once_and_what_may_pass_after_some_deliveries(
    deployed: Deployed, proxy: FaultyProxy
) -> None:
    deployed.keep_journal()
    fails(proxy, "refused", 2)
    assert deployed.handler()({"Records": batch(*"ab")}, Remaining()) == ALL_DONE
    assert len(deployed.parked()) == 2
    fails(proxy, "fails", 3)
    handle, records = deployed.handler(), batch(*"cd", first=3)
    for _ in range(target_failures.DELIVERIES_MAX - 1):
        assert handle({"Records": records}, Remaining(ms=2_500)) == again_from(3)
    assert handle({"Records": records}, Remaining(ms=2_500)) == ALL_DONE
    assert len(deployed.parked()) == 4
    assert sorted(deployed.sent()) == [("a", 1), ("d", 4)]


def test_a_batch_that_comes_again_after_its_process_died_is_parked_once(deployed: Deployed) -> None:
    """The answer of an invocation that had parked a lane was lost."""
    deployed.keep_journal()
    records = batch(*"aBb")
    for _ in range(3):
        assert deployed.handler()({"Records": records}, Remaining()) == ALL_DONE
    header = next(item for item in deployed.parked() if item["sk"]["S"] == "LANE")
    assert header["waiting"]["N"] == "2"


def test_it_stops_in_time_and_reports_the_rest_as_failed(deployed: Deployed, proxy: FaultyProxy) -> None:
    deployed.keep_journal()
    assert deployed.handler()({"Records": batch(*"ab")}, Remaining(ms=100)) == again_from(1)
    assert deployed.sent() == []


def test_a_target_that_hangs_costs_no_more_than_the_time_there_is(deployed: Deployed, proxy: FaultyProxy) -> None:
    import time

    deployed.keep_journal()
    fails(proxy, "hangs", 1)
    began_s = time.monotonic()
    end_s = began_s + 2.5

    class Running(Remaining):
        def get_remaining_time_in_millis(self) -> int:
            return int((end_s - time.monotonic()) * 1000)

    assert deployed.handler()({"Records": batch(*"ab")}, Running()) == again_from(1)
    assert time.monotonic() - began_s < BOUND_S / 4, "no longer than there is time: the target hangs for longer"


def test_a_journal_that_does_not_answer_leads_to_another_delivery(deployed: Deployed) -> None:
    deployed.resources |= {"ledger": "absent", "parked": "absent"}
    assert deployed.handler()({"Records": batch(*"ab")}, Remaining()) == again_from(1)
    assert deployed.sent() == []


def test_a_pipe_s_batch_is_answered_by_event_ids_s31(deployed: Deployed, proxy: FaultyProxy) -> None:
    fails(proxy, "refused", 2)
    records = batch(*"ab")
    answer = deployed.handler()(records, Remaining())
    assert answer == {"batchItemFailures": [{"itemIdentifier": records[1]["eventID"]}]}


def test_changes_through_kinesis_are_taken_once_across_batches_s26(deployed: Deployed) -> None:
    deployed.keep_journal()
    first = [kinesis_record(number, "a", {"id": f"c{number}", "at": number}) for number in (2, 1, 3)]
    again = [*first[1:], kinesis_record(4, "a", {"id": "c4", "at": 4})]
    assert deployed.handler()({"Records": first}, Remaining()) == ALL_DONE
    assert deployed.handler()({"Records": again}, Remaining()) == ALL_DONE
    assert [number for _, number in deployed.sent()] == [1, 2, 3, 4]


def test_kinesis_disorder_with_failures_leads_to_each_effect_once_and_in_order_s26(
    deployed: Deployed, proxy: FaultyProxy
) -> None:
    deployed.keep_journal()
    dice = random.Random(1)
    numbers = [*range(1, 25), *dice.sample(range(1, 25), 8)]
    dice.shuffle(numbers)
    records = [
        kinesis_record(place, "abc"[n % 3], {"id": f"c{n}", "at": n, "sk": str(n)})
        for place, n in enumerate(numbers, 1)
    ]
    fails(proxy, "fails", 5, 10, 15, 20, times=6)  # more often than one delivery tries
    deliveries, left = 0, records
    while left:
        deliveries += 1
        assert deliveries < 20
        answer = deployed.handler()({"Records": left}, Remaining())
        lowest = [each["itemIdentifier"] for each in answer["batchItemFailures"]]
        left = [each for each in left if lowest and int(each["kinesis"]["sequenceNumber"]) >= int(lowest[0])]
    sent = deployed.sent()
    assert deliveries > 1
    for key in "abc":
        assert [number for each, number in sent if each == key] == [n for n in range(1, 25) if "abc"[n % 3] == key]


def test_tables_are_known_by_their_names_on_aws(deployed: Deployed) -> None:
    deployed.resources["table/things"] = "production-things"
    record = dynamodb_record(1, "a", table="production-things")
    assert deployed.handler()({"Records": [record]}, Remaining()) == ALL_DONE
    assert deployed.sent() == [("a", 1)]


def test_the_log_has_no_item_s_content(
    deployed: Deployed, proxy: FaultyProxy, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed.keep_journal()
    fails(proxy, "fails", 3)
    records = batch("customer-17", "B-lane", "c", note="confidential")
    records[1] = dynamodb_record(2, "b-lane", poison="secret-word")
    handle = deployed.handler(AFTERWRITE_APP="shop-test")
    assert handle({"Records": records}, Remaining(ms=2_500)) == again_from(3)
    out, err = capsys.readouterr()
    lines = [orjson.loads(line) for line in out.splitlines()]
    for content in ("customer-17", "b-lane", "secret-word", "confidential", "things/"):
        assert content not in out + err
    events = {line["event"]: line for line in lines if "event" in line}
    assert set(events) == {"lane parked", "effect failed"}
    assert (events["effect failed"]["target"], events["effect failed"]["kind"]) == ("queue/numbers", "unavailable")
    assert len(events["lane parked"]["lane"]) == 16
    (metrics,) = (line for line in lines if "_aws" in line)
    assert (metrics["App"], metrics["Table"]) == ("shop-test", "things")
    assert (metrics["PerformedChanges"], metrics["ParkedLanes"], metrics["ChangesToDeliverAgain"]) == (1, 1, 1)
    assert {metric["Name"] for metric in metrics["_aws"]["CloudWatchMetrics"][0]["Metrics"]} <= set(metrics)


def test_keys_are_in_the_log_where_that_is_allowed(deployed: Deployed, capsys: pytest.CaptureFixture[str]) -> None:
    deployed.keep_journal()
    deployed.handler(AFTERWRITE_LOG_KEYS="1")({"Records": batch("B")}, Remaining())
    (line,) = (orjson.loads(line) for line in capsys.readouterr().out.splitlines() if "lane parked" in line)
    assert line["lane"] == "things/b"
