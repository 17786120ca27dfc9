"""Lanes that a target's outage has parked are run again on a schedule, without anybody who asks for it."""

from __future__ import annotations

from typing import Final

from afterwrite.synth.document import JsonText, logical_id
from afterwrite.synth.stack import Stack, physical_name, where

EVERY_S: Final = 300
"""How often they are run again."""

_RULE_NAME_MAX: Final = 64


def add(stack: Stack) -> None:
    """For the routes of each table a schedule that asks for the lanes whose failure may have passed."""
    for table, function in stack.route_functions.items():
        rule = stack.add(
            logical_id(table, "RedriveRule"),
            "AWS::Events::Rule",
            {
                "Name": physical_name(f"{stack.app.name}-redrive-{table}", limit=_RULE_NAME_MAX),
                "Description": f"Parked lanes of {table} whose failure may have passed run again",
                "ScheduleExpression": f"rate({EVERY_S // 60} minutes)",
                "State": where("RedrivesParked", "ENABLED", "DISABLED"),
                "Targets": [
                    {
                        "Id": "routes",
                        "Arn": function.arn,
                        "Input": JsonText({"afterwrite": {"redrive": {"table": table, "may_pass": True}}}),
                    }
                ],
            },
        )
        stack.add(
            logical_id(table, "RedriveInvokes"),
            "AWS::Lambda::Permission",
            {
                "FunctionName": function.ref,
                "Action": "lambda:InvokeFunction",
                "Principal": "events.amazonaws.com",
                "SourceArn": rule.arn,
            },
        )
        # The schedule asks again by itself: what waited for its turn meanwhile would only ask for the same.
        stack.add(
            f"{function.id}Redrives",
            "AWS::Lambda::EventInvokeConfig",
            {
                "FunctionName": function.ref,
                "Qualifier": "$LATEST",
                "MaximumRetryAttempts": 0,
                "MaximumEventAgeInSeconds": EVERY_S,
            },
        )
