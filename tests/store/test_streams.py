"""Streams as they are kept."""

from __future__ import annotations

from afterwrite.store import streams
from afterwrite.store.environment import Environment
from embedded import Dynamo


def test_a_stream_that_has_not_changed_is_not_parsed_again(environment: Environment, dynamo: Dynamo) -> None:
    dynamo(
        "CreateTable",
        TableName="things",
        AttributeDefinitions=[{"AttributeName": "PK", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    number = environment.state["catalog"]["things"].stream.number
    with environment.read() as transaction:
        state = streams.state_of(transaction, number)
        assert state is not None
        assert streams.state_of(transaction, number) is state
