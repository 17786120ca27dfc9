"""What declarations become on AWS, and what is refused there."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from cfnlint.api import lint

from afterwrite import INSERT, MODIFY, App, Email, Key, Sms, Webhook, less_than, prefix
from afterwrite.app import Table
from afterwrite.errors import DeclarationError
from afterwrite.synth import cloudformation, terraform
from afterwrite.synth.document import Attribute, Joined, Ref, join, logical_id
from afterwrite.synth.routing import EVERY_CHANGE, filters
from afterwrite.synth.stack import Options, Stack, physical_name, shortened
from afterwrite.synth.template import synth
from synth.documents import of_type, parsed


def an_app(**table: Any) -> tuple[App, Table]:
    app = App("shop")
    return app, app.table("orders", partition_key="PK", sort_key="SK", **table)


def patterns(app: App, table: Table, options: Options | None = None) -> tuple[list[Any], list[str]]:
    stack = Stack(app, options or Options())
    return filters(table, stack), stack.notes


def test_filters_come_from_the_routes_guards() -> None:
    app, orders = an_app()
    orders.on(INSERT, sort_key=prefix("TURN#"))(lambda change: None)
    found, notes = patterns(app, orders)
    assert found == [{"eventName": ["INSERT"], "dynamodb": {"Keys": {"SK": {"S": [{"prefix": "TURN#"}]}}}}]
    assert notes == []


def test_a_route_for_every_change_needs_every_change() -> None:
    app, orders = an_app()

    @orders.on(INSERT)
    def first(change: Any) -> None: ...

    @orders.on()
    def second(change: Any) -> None: ...

    assert patterns(app, orders) == ([EVERY_CHANGE], [])


def test_a_guard_that_aws_cannot_filter_by_gets_more_changes_with_a_note_or_is_refused() -> None:
    """S17: numbers are texts in the record; a pattern that compared them would match nothing."""
    app, orders = an_app()

    @orders.on(MODIFY, new={"stock": less_than(10)})
    def low(change: Any) -> None: ...

    found, (note,) = patterns(app, orders)
    assert "numeric" not in json.dumps(found)
    assert found[0]["eventName"] == ["MODIFY"]
    assert note.startswith("orders: more changes than low wants reach it: NewImage.stock: numbers are texts")
    with pytest.raises(DeclarationError, match="more changes than low wants reach it"):
        patterns(app, orders, Options(exact_filters=True))


def test_more_guards_than_a_mapping_has_filters_become_one_of_alternatives() -> None:
    app, orders = an_app()
    for number in range(6):
        handler = lambda change: None  # noqa: E731 - its name is set below
        handler.__name__ = f"route_{number}"
        orders.on(INSERT, sort_key=prefix(f"{number}#"))(handler)
    (found,), _ = patterns(app, orders)
    assert len(found["$or"]) == 6


def test_alternatives_that_are_too_long_become_the_kinds_of_change() -> None:
    app, orders = an_app()
    for number in range(6):
        handler = lambda change: None  # noqa: E731 - its name is set below
        handler.__name__ = f"route_{number}"
        orders.on(INSERT, sort_key=prefix(f"{number}#" * 400))(handler)
    assert patterns(app, orders)[0] == [{"eventName": ["INSERT"]}]


def test_changes_go_through_kinesis_by_one_word() -> None:
    app, orders = an_app(stream="kinesis")

    @orders.on(INSERT, sort_key="META")
    def route(change: Any) -> None: ...

    template = synth(app)
    document = parsed(template)
    table = of_type(document, "AWS::DynamoDB::Table")["OrdersTable"]
    assert "StreamSpecification" not in table
    assert table["KinesisStreamSpecification"] == {
        "StreamArn": {"Fn::GetAtt": "OrdersChanges.Arn"},
        "ApproximateCreationDateTimePrecision": "MICROSECOND",
    }
    stream = of_type(document, "AWS::Kinesis::Stream")["OrdersChanges"]
    assert stream["RetentionPeriodHours"] == 24
    # DynamoDB leaves out what the stream does not take, which is what has more than 1 MiB unless told otherwise.
    assert stream["MaxRecordSizeInKiB"] > 1024
    assert stream["MaxRecordSizeInKiB"] * 1024 * 4 / 3 < 6_000_000, "what Lambda gets of it in base64"
    (mapping,) = of_type(document, "AWS::Lambda::EventSourceMapping").values()
    (criteria,) = mapping["FilterCriteria"]["Filters"]
    assert json.loads(criteria["Pattern"])["data"]["dynamodb"] == {"Keys": {"SK": {"S": ["META"]}}}
    assert [note for note in template.notes if "Kinesis" in note] == []


def test_the_stream_of_changes_is_declared_once_and_kept_as_long_as_any_says() -> None:
    app, orders = an_app(stream="kinesis")

    @orders.on(INSERT)
    def route(change: Any) -> None: ...

    changes = app.kinesis_stream("orders-changes", retention_hours=72)
    changes.event_source_mapping(lambda event, context: None, FunctionName="copy")
    app.kinesis_stream("clicks", retention_hours=48)
    document = parsed(synth(app))
    hours = {name: each["RetentionPeriodHours"] for name, each in of_type(document, "AWS::Kinesis::Stream").items()}
    assert hours == {"OrdersChanges": 72, "ClicksKinesisStream": 48}
    sources = [each["EventSourceArn"] for each in of_type(document, "AWS::Lambda::EventSourceMapping").values()]
    assert sources == [{"Fn::GetAtt": "OrdersChanges.Arn"}] * 2


def test_a_table_without_routes_writes_its_changes_to_the_stream_that_functions_read() -> None:
    app, _ = an_app(stream="kinesis")
    app.kinesis_stream("orders-changes").event_source_mapping(lambda event, context: None, FunctionName="copy")
    document = parsed(synth(app))
    assert list(of_type(document, "AWS::Kinesis::Stream")) == ["OrdersChanges"]
    table = of_type(document, "AWS::DynamoDB::Table")["OrdersTable"]
    assert table["KinesisStreamSpecification"]["StreamArn"] == {"Fn::GetAtt": "OrdersChanges.Arn"}
    (mapping,) = of_type(document, "AWS::Lambda::EventSourceMapping").values()
    assert mapping["EventSourceArn"] == {"Fn::GetAtt": "OrdersChanges.Arn"}


def test_changes_that_are_kept_for_longer_go_through_kinesis() -> None:
    app, orders = an_app(retention_hours=72)

    @orders.on(INSERT)
    def route(change: Any) -> None: ...

    template = synth(app)
    note = template.notes[-1]
    assert note.startswith("orders: its changes are kept for 72 h, but go to the failures bucket when they are older")
    document = parsed(template)
    table = of_type(document, "AWS::DynamoDB::Table")["OrdersTable"]
    assert "StreamSpecification" not in table
    assert table["KinesisStreamSpecification"]["StreamArn"] == {"Fn::GetAtt": "OrdersChanges.Arn"}
    assert of_type(document, "AWS::Kinesis::Stream")["OrdersChanges"]["RetentionPeriodHours"] == 72
    (mapping,) = of_type(document, "AWS::Lambda::EventSourceMapping").values()
    assert mapping["EventSourceArn"] == {"Fn::GetAtt": "OrdersChanges.Arn"}
    (pattern,) = mapping["FilterCriteria"]["Filters"]
    assert json.loads(pattern["Pattern"]) == {"data": {"eventName": ["INSERT"]}}
    loss = of_type(document, "AWS::CloudWatch::Alarm")["OrdersLossAlarm"]
    assert loss["Threshold"] == 36 * 3_600_000


def test_parking_and_ages_of_functions_are_said_to_be_the_engine_s() -> None:
    app = App("shop")

    @app.function(exhausted="park")
    def pay(request: Any, context: Any) -> None: ...

    @app.function()
    def tell(request: Any, context: Any) -> None: ...

    (note,) = synth(app).notes
    assert note.startswith("pay: ")


def test_a_pipe_carries_changes_where_it_is_asked_for() -> None:
    """S31"""
    app, orders = an_app()

    @orders.on(INSERT)
    def route(change: Any) -> None: ...

    document = parsed(synth(app, Options(pipes=frozenset(["orders"]))))
    assert of_type(document, "AWS::Lambda::EventSourceMapping") == {}
    (pipe,) = of_type(document, "AWS::Pipes::Pipe").values()
    assert pipe["Source"] == {"Fn::GetAtt": "OrdersTable.StreamArn"}
    settings = pipe["SourceParameters"]["DynamoDBStreamParameters"]
    assert settings["OnPartialBatchItemFailure"] == "AUTOMATIC_BISECT"
    assert settings["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": "PipeOrdersDeadLetters.Arn"}}
    assert pipe["Target"] == {"Fn::GetAtt": "OrdersRoutes.Arn"}
    (policy,) = of_type(document, "AWS::IAM::Role")["OrdersPipeRole"]["Policies"]
    allowed = [action for each in policy["PolicyDocument"]["Statement"] for action in each["Action"]]
    assert "dynamodb:ListStreams" in allowed


def test_a_delivery_stream_fills_an_index_and_the_lake() -> None:
    app, _ = an_app()
    app.delivery_stream("clicks", columns={"page": str})
    template = synth(app, Options(search={"clicks": "clicks-v1"}))
    assert "ClicksDomainArn" in [parameter.name for parameter in template.parameters]
    (stream,) = of_type(parsed(template), "AWS::KinesisFirehose::DeliveryStream").values()
    destination = stream["AmazonopensearchserviceDestinationConfiguration"]
    assert destination["IndexName"] == "clicks-v1"
    assert destination["S3BackupMode"] == "AllDocuments"


def test_a_delivery_stream_with_columns_is_parquet_in_partitions_and_one_without_is_lines() -> None:
    app, _ = an_app()
    app.delivery_stream("typed", columns={"page": str, "count": int, "share": float, "first": bool})
    app.delivery_stream("plain")
    app.bus("events").rule("all", {"source": ["shop"]}, to=[app.delivery_stream("events")])
    document = parsed(synth(app))
    streams = of_type(document, "AWS::KinesisFirehose::DeliveryStream")
    typed = streams["TypedStream"]["ExtendedS3DestinationConfiguration"]
    plain = streams["PlainStream"]["ExtendedS3DestinationConfiguration"]
    for each, name in ((typed, "typed"), (plain, "plain")):
        assert each["DynamicPartitioningConfiguration"]["Enabled"] is True
        assert each["Prefix"] == f"{name}/dt=!{{partitionKeyFromQuery:dt}}/hour=!{{partitionKeyFromQuery:hour}}/"
    assert typed["DataFormatConversionConfiguration"]["SchemaConfiguration"]["TableName"] == {"Ref": "TypedLakeTable"}
    assert "DataFormatConversionConfiguration" not in plain
    events = streams["EventsStream"]["ExtendedS3DestinationConfiguration"]
    kinds = [[each["Type"] for each in stream["ProcessingConfiguration"]["Processors"]] for stream in (plain, events)]
    assert kinds == [["MetadataExtraction"], ["MetadataExtraction", "AppendDelimiterToRecord"]]
    table = of_type(document, "AWS::Glue::Table")["TypedLakeTable"]["TableInput"]
    columns = {each["Name"]: each["Type"] for each in table["StorageDescriptor"]["Columns"]}
    assert columns == {
        "id": "string",
        "time": "string",
        "page": "string",
        "count": "bigint",
        "share": "double",
        "first": "boolean",
    }


def test_a_column_is_named_as_the_delivery_stream_reads_its_field() -> None:
    """It reads keys in small letters; a field named as the lake's own has an underscore in front."""
    app = App("shop")
    app.delivery_stream("typed", columns={"productId": str, "time": int, "Hour": int})
    (table,) = of_type(parsed(synth(app)), "AWS::Glue::Table").values()
    columns = {each["Name"]: each["Type"] for each in table["TableInput"]["StorageDescriptor"]["Columns"]}
    assert columns == {"id": "string", "time": "string", "productid": "string", "_time": "bigint", "_hour": "bigint"}


def test_variables_of_the_app_become_parameters() -> None:
    app, _ = an_app()

    @app.function()
    def call(request: Any, context: Any) -> None: ...

    document = parsed(synth(app, Options(environment=("SHOP_MAIL_DOMAIN",))))
    (function,) = of_type(document, "AWS::Lambda::Function").values()
    assert function["Environment"]["Variables"]["SHOP_MAIL_DOMAIN"] == {"Ref": "ShopMailDomain"}
    # An empty default would set the variable, which is not the same as leaving it out.
    assert "Default" not in document["Parameters"]["ShopMailDomain"]


def runs_too_long(app: App) -> None:
    @app.function(timeout_s=1_000)
    def call(request: Any, context: Any) -> None: ...


def audited_for_ever(app: App) -> None:
    app.audit_log("trail")


def forgettable(app: App) -> None:
    app.audit_log("trail", retain_days=30, forgettable=True)


def piped_private(app: App) -> None:
    app.table("users", partition_key="PK", private=["email"]).pipe(to=app.queue("work"))


def named_alike(app: App) -> None:
    app.queue("a-b")
    app.queue("a_b")


def too_many_targets(app: App) -> None:
    app.bus("events").rule("all", {"source": ["shop"]}, to=[app.queue(f"queue-{n}") for n in range(6)])


def dotted_queue(app: App) -> None:
    app.queue("work.v1")


def fifo_subscription(app: App) -> None:
    app.topic("news").subscribe(app.queue("work.fifo"))


def fifo_failures(app: App) -> None:
    queue = app.queue("failed.fifo")
    things = app.table("things", partition_key="PK")
    things.event_source_mapping(handle, DestinationConfig={"OnFailure": {"Destination": queue}})


def handle(event: Any, context: Any) -> None: ...


def dotted_topic(app: App) -> None:
    app.topic("news.v1")


def columns_alike(app: App) -> None:
    app.delivery_stream("typed", columns={"productId": str, "productID": str})


def undocumented_operator(app: App) -> None:
    app.bus("events").rule("one", {"source": [{"exactly": "10.0.0.1"}]}, to=[app.queue("work")])


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (columns_alike, "columns of typed that differ in more than case on AWS, got productId and productID"),
        (undocumented_operator, "the rule one would not match on AWS as it does here: .*exactly"),
        (dotted_queue, "the queue's name to have no '.' on AWS, got 'work.v1'"),
        (fifo_subscription, "without the suffix .fifo to subscribe to the topic news, got 'work.fifo'"),
        (fifo_failures, "without the suffix .fifo as the destination of handle's failures, got 'failed.fifo'"),
        (dotted_topic, "the topic's name to have no '.' on AWS, got 'news.v1'"),
        (runs_too_long, "timeout_s of at most 900 for call"),
        (audited_for_ever, "retain_days from 1 to 36500 for the audit log trail"),
        (forgettable, "expected an audit log that is not forgettable on AWS, where none keeps keys for it, got trail"),
        (piped_private, "expected no private attributes for the pipe users-to-work"),
        (named_alike, "two declarations would both be the resource ABDeadLetters"),
        (too_many_targets, "at most 5 targets of the rule all"),
    ],
)
def test_what_aws_cannot_do_as_declared_is_refused(declare: Any, message: str) -> None:
    app = App("shop")
    declare(app)
    with pytest.raises(DeclarationError, match=message):
        synth(app)


def test_a_queue_with_the_suffix_is_a_fifo_queue() -> None:
    app = App("shop")
    work, sent = app.queue("work.fifo", max_receives=5), app.queue("sent.fifo")
    work.consumer(timeout_s=90)(handle_message)
    app.bus("events").rule("ordered", {"source": ["shop"]}, to=[sent])
    app.table("orders", partition_key="PK").pipe(to=sent, name="to-sent")
    template = synth(app)
    (note,) = (each for each in template.notes if each.startswith("ordered: "))
    assert "events reach sent.fifo one after the other" in note
    document = parsed(template)
    queues = {json.dumps(each["QueueName"]): each for each in of_type(document, "AWS::SQS::Queue").values()}
    (queue,) = (each for name, each in queues.items() if "}work.fifo" in name)
    (dead_letters,) = (each for name, each in queues.items() if "}work-dead-letters.fifo" in name)
    assert (queue["FifoQueue"], queue["VisibilityTimeout"]) == (True, 120)
    assert queue["RedrivePolicy"]["maxReceiveCount"] == 5
    assert dead_letters["FifoQueue"] is True
    (rule,) = of_type(document, "AWS::Events::Rule").values()
    assert rule["Targets"][0]["SqsParameters"] == {"MessageGroupId": "ordered"}
    (pipe,) = of_type(document, "AWS::Pipes::Pipe").values()
    assert pipe["TargetParameters"]["SqsQueueParameters"]["MessageGroupId"] == "$.eventID"


def handle_message(message: Any, context: Any) -> None: ...


def test_a_bus_that_every_account_has_already_is_noted() -> None:
    app = App("shop")
    app.bus("default")
    app.bus("events")
    (note,) = synth(app).notes
    assert note == "default: every account has a bus of this name: give a NamePrefix, or rename it"


def test_an_index_that_opensearch_would_refuse_each_record_for_is_refused() -> None:
    app = App("shop")
    app.delivery_stream("clicks")
    with pytest.raises(DeclarationError, match="an index in small letters for clicks, as OpenSearch's are, got 'Clic"):
        synth(app, Options(search={"clicks": "Clicks"}))


@pytest.mark.parametrize(("queues", "length"), [(17, 70), (32, 10)])
def test_more_names_than_lambda_s_environment_holds_are_refused(queues: int, length: int) -> None:
    """Each queue is there with its URL, in which its name is once more."""
    app, orders = an_app()
    orders.on()(lambda change: None)
    for number in range(queues):
        app.queue(f"{number:02}{'x' * (length - 2)}")
    with pytest.raises(DeclarationError, match="of which Lambda's environment has 4096: split the app"):
        synth(app)


def test_as_many_names_as_lambda_s_environment_holds_are_taken() -> None:
    app, orders = an_app()
    orders.on()(lambda change: None)
    for number in range(28):
        app.queue(f"queue-{number:02}")
    (function,) = of_type(parsed(synth(app)), "AWS::Lambda::Function").values()
    url = "https://sqs.ap-southeast-2.amazonaws.com/123456789012/"
    text = function["Environment"]["Variables"]["AFTERWRITE_RESOURCES"]["Fn::Sub"]
    deployed = re.sub(r"\$\{(\w+?)(?:Queue|Table)\}", lambda found: f"{url}{'p' * 16}{found[1]}", text)
    assert len(deployed) < 4_096 - 200


@pytest.mark.parametrize("name", ["work", "work.fifo"])
def test_sqs_counts_a_thousand_receives_and_no_more(name: str) -> None:
    app = App("shop")
    app.queue(name, max_receives=2_000)
    template = synth(app)
    counts = [each.get("RedrivePolicy") for each in of_type(parsed(template), "AWS::SQS::Queue").values()]
    assert [each["maxReceiveCount"] for each in counts if each is not None] == [1_000]
    (note,) = template.notes
    assert note.startswith(f"{name}: what failed 1,000 times goes to the dead letters")


def test_a_consumer_that_is_to_run_alone_is_noted() -> None:
    app = App("shop")
    app.queue("work").consumer(concurrency=1)(handle_message)
    app.queue("more").consumer(concurrency=2)(tell)
    template = synth(app)
    (note,) = template.notes
    assert note.startswith("handle_message: up to 2 run at once, as a queue's mapping runs 2 to 1,000")
    mappings = of_type(parsed(template), "AWS::Lambda::EventSourceMapping").values()
    assert {each["ScalingConfig"]["MaximumConcurrency"] for each in mappings} == {2}


@pytest.mark.parametrize(
    ("retries", "timeout_s", "after"), [(2, 900, "180 s"), (2, 181, "180 s"), (1, 61, "60 s"), (2, 180, None)]
)
def test_a_function_that_may_outlast_lambda_s_retries_is_noted(retries: int, timeout_s: int, after: str | None) -> None:
    app = App("shop")
    app.function(retries=retries, timeout_s=timeout_s)(tell)
    app.function(retries=0, timeout_s=900)(handle)
    app.function(retries=3, timeout_s=900)(handle_message)
    notes = synth(app).notes
    if after is None:
        assert notes == []
    else:
        (note,) = notes
        assert note.startswith("tell: ")
        assert f"Lambda's last retry comes {after} later" in note


def test_two_apps_in_one_account_may_name_their_functions_alike() -> None:
    names = []
    for name in ("shop", "mail"):
        app = App(name)

        @app.function()
        def send(request: Any, context: Any) -> None: ...

        @app.function(retries=9)
        def bill(request: Any, context: Any) -> None: ...

        document = parsed(synth(app))
        kinds = {"AWS::SQS::Queue": "QueueName", "AWS::Lambda::Function": "FunctionName"}
        names.append(
            {json.dumps(each[named]) for kind, named in kinds.items() for each in of_type(document, kind).values()}
        )
    assert len(names[0]) == len(names[1]) == 5
    assert not names[0] & names[1]


def test_a_rule_with_a_long_pattern_is_noted() -> None:
    app = App("shop")
    app.bus("events").rule("long", {"source": [f"shop-{n}" for n in range(300)]}, to=[app.queue("work")])
    (note,) = synth(app).notes
    assert note.startswith("the rule long: a pattern of more than 2048 characters")


@pytest.mark.parametrize("options", [Options(pipes=frozenset(["nope"])), Options(search={"nope": "index"})])
def test_options_about_what_is_not_declared_are_refused(options: Options) -> None:
    app, _ = an_app()
    with pytest.raises(DeclarationError, match="nope"):
        synth(app, options)


def test_a_function_may_send_to_the_targets_that_it_names_and_no_other() -> None:
    app, orders = an_app()
    mail = Email("ses://shop-mail", sender="Shop <shop@example.org>")
    app.target("mail", mail)
    app.queue("texts").target("text", Sms())
    app.target("hook", Webhook("https://example.org/hook", secret="s3cret"))
    app.queue("news").consumer(sends=[mail, Sms(), Email("smtp://localhost", sender="else@example.org")])(tell)
    orders.on()(lambda change: None)
    template = synth(app, Options())
    document = parsed(template)
    found = {
        id: {each["Sid"]: each for each in role["Policies"][0]["PolicyDocument"]["Statement"]}
        for id, role in of_type(document, "AWS::IAM::Role").items()
    }
    sends = {id: sorted(sid for sid in sids if sid in ("SendEmails", "SendTexts")) for id, sids in found.items()}
    assert sends == {
        "MailFunctionRole": ["SendEmails"],
        "TextFunctionRole": ["SendTexts"],
        "HookFunctionRole": [],
        "TellFunctionRole": ["SendEmails", "SendTexts"],
        "OrdersRoutesRole": [],
    }
    emails, texts = found["TellFunctionRole"]["SendEmails"], found["TellFunctionRole"]["SendTexts"]
    place = "arn:${AWS::Partition}:ses:${AWS::Region}:${AWS::AccountId}:"
    assert emails["Action"] == ["ses:SendEmail", "ses:SendRawEmail"]
    assert emails["Resource"] == [
        {"Fn::Sub": place + "identity/shop@example.org"},
        {"Fn::Sub": place + "identity/example.org"},
        {"Fn::Sub": place + "configuration-set/shop-mail"},
    ]
    assert emails["Condition"] == {"StringEquals": {"ses:FromAddress": "shop@example.org"}}
    assert (texts["Action"], texts["NotResource"]) == (["sns:Publish"], {"Fn::Sub": "arn:${AWS::Partition}:sns:*:*:*"})
    assert lint(cloudformation.render(template)) == []
    assert "aws_partition.current.partition" in terraform.render(template)
    assert "s3cret" not in cloudformation.render(template)


def tell(message: Any, context: Any) -> None: ...


def test_everything_at_once_is_clean_by_the_linter() -> None:
    """Kinesis, a Pipe, an index, numbers as keys, a rule to everything that a rule may go to."""
    app = App("shop")
    kept = app.table("orders", partition_key=Key("id", "N"), retention_hours=48)
    piped = app.table("carts", partition_key="PK", sort_key=Key("at", "B"), view_type="KEYS_ONLY")
    clicks = app.delivery_stream("clicks", columns={"page": str})
    work = app.queue("work")

    @work.consumer(timeout_s=600)
    def worker(message: Any, context: Any) -> None: ...

    @app.function(retries=0)
    def call(request: Any, context: Any) -> None: ...

    app.bus("events").rule("all", {"source": [{"prefix": "sh"}]}, to=[work, call, clicks])
    app.topic("news").subscribe(work, filter_policy={"kind": ["big", {"prefix": "x"}]}, scope="MessageBody")

    @kept.on(INSERT)
    def route_kept(change: Any) -> None: ...

    @piped.on()
    def route_piped(change: Any) -> None: ...

    template = synth(app, Options(pipes=frozenset(["carts"]), search={"clicks": "clicks"}, environment=("SHOP_URL",)))
    found = lint(cloudformation.render(template))
    assert [f"{match.rule.id} {match.message}" for match in found] == []


def test_an_app_of_nothing_but_a_table_is_a_table() -> None:
    app, _ = an_app()
    document = parsed(synth(app))
    kinds = {each["Type"] for each in document["Resources"].values()}
    assert kinds == {"AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::S3::BucketPolicy"}


def test_given_up_batches_are_gone_with_all_their_versions_when_they_expire() -> None:
    app, _ = an_app()
    (bucket,) = of_type(parsed(synth(app)), "AWS::S3::Bucket").values()
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    (rule,) = bucket["LifecycleConfiguration"]["Rules"]
    assert rule["ExpirationInDays"] == {"Ref": "FailuresKeptDays"}
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}


def test_long_names_stay_apart() -> None:
    long = "x" * 70
    assert len(shortened(long, 48)) == 48
    assert shortened(long + "1", 48) != shortened(long + "2", 48)
    assert physical_name("short", limit=64) == Joined((Ref("NamePrefix"), "short"))


def test_parts_join_to_the_shortest_text() -> None:
    assert join("a", "b") == "ab"
    assert join("", Ref("X")) == Ref("X")
    assert join("a", join("b", Attribute("X")), "c") == Joined(("ab", Attribute("X"), "c"))


def test_ids_are_words_in_camel_case() -> None:
    assert logical_id("agent-dashboard_queue", "DeadLetters") == "AgentDashboardQueueDeadLetters"


def test_a_cache_and_an_index_are_where_parameters_say_and_the_role_writes_to_the_index_alone() -> None:
    app, orders = an_app()
    shown = app.cache("shop", url="redis://127.0.0.1")

    @shown.view(orders)
    def show(item: Any) -> Any: ...

    @app.search_index("Titles", url="http://127.0.0.1:9200").documents(orders)
    def title(item: Any) -> Any: ...

    @app.search_index("here").documents(orders)
    def elsewhere(item: Any) -> Any: ...

    @app.function()
    def work(request: Any, context: Any) -> None: ...

    template = synth(app)
    document = parsed(template)
    assert {"ShopCacheUrl", "TitlesSearchEndpoint", "TitlesSearchDomainArn"} <= document["Parameters"].keys()
    text = json.dumps(document)
    assert "cache/shop" in text
    assert "search_index/Titles" in text
    assert "search_index/here" not in text
    assert '"Action": ["es:ESHttpPost"]' in text or '"Action": "es:ESHttpPost"' in text
    assert "/titles/*" in text
    assert [note.partition(":")[0] for note in template.notes] == ["shop", "here"]
    assert [f"{match.rule.id} {match.message}" for match in lint(cloudformation.render(template))] == []


def test_keys_are_json_in_a_text_for_terraform() -> None:
    """The schema of this property has alternatives, which the provider `awscc` takes as text."""
    app, _ = an_app()
    resources = json.loads(terraform.render(synth(app)))["resource"]
    keys = resources["awscc_dynamodb_table"]["orders_table"]["key_schema"]
    assert json.loads(keys) == [
        {"AttributeName": "PK", "KeyType": "HASH"},
        {"AttributeName": "SK", "KeyType": "RANGE"},
    ]


def test_alarms_have_the_declared_thresholds_and_the_topic_is_the_engine_s() -> None:
    app, orders = an_app()
    app.queue("work").consumer()(tell)
    app.queue("read-outside")
    app.alarms(to=app.topic("ops"), iterator_age_s=300, retention_fraction=0.25, queue_age_s=1_800)

    @app.function(retries=5)
    def call(request: Any, context: Any) -> None: ...

    @orders.on()
    def route(change: Any) -> None: ...

    template = synth(app)
    alarms = of_type(parsed(template), "AWS::CloudWatch::Alarm")
    assert alarms["OrdersLagAlarm"]["Threshold"] == 300_000
    assert alarms["OrdersLossAlarm"]["Threshold"] == 6 * 3_600_000
    ages = {
        each["Dimensions"][0]["Value"]["Fn::GetAtt"]: each["Threshold"]
        for each in alarms.values()
        if each["MetricName"] == "ApproximateAgeOfOldestMessage"
    }
    assert ages == {"WorkQueue.QueueName": 1_800, "FunctionCallQueue.QueueName": 1_800}
    (note,) = template.notes
    assert note.startswith("alarms: to=ops is the embedded engine's")


def test_a_dashboard_shows_at_most_a_hundred_alarms_at_a_place() -> None:
    app = App("shop")
    for number in range(120):
        app.queue(f"queue-{number}")
    template = synth(app)
    (dashboard,) = [each for each in template.resources if each.type == "AWS::CloudWatch::Dashboard"]
    widgets = dashboard.properties["DashboardBody"].value["widgets"]
    assert [len(each["properties"]["alarms"]) for each in widgets if each["type"] == "alarm"] == [100, 20]
    places = [(each["x"], each["y"]) for each in widgets]
    assert len(set(places)) == len(places)


def test_more_resources_than_a_template_of_cloudformation_takes_are_refused_there() -> None:
    app = App("shop")
    for number in range(130):
        app.queue(f"queue-{number}")
    template = synth(app)
    with pytest.raises(DeclarationError, match=r"expected at most 500 resources, .* got 525: split the app, or write"):
        cloudformation.render(template)
    assert len(json.loads(terraform.render(template))["resource"]["awscc_sqs_queue"]) == 260


def two_functions_of_one_name(app: App) -> None:
    app.table("orders", partition_key="PK").on()(lambda change: None)
    app.target("routes-orders", Webhook("https://example.org"))


def the_ledgers_table(app: App) -> None:
    app.table("shop-ledger", partition_key="PK")


def the_dead_letters_of_another(app: App) -> None:
    app.queue("work")
    app.queue("work-dead-letters")


@pytest.mark.parametrize(
    ("declare", "name"),
    [
        (two_functions_of_one_name, "shop-routes-orders"),
        (the_ledgers_table, "shop-ledger"),
        (the_dead_letters_of_another, "work-dead-letters"),
    ],
)
def test_two_resources_of_one_name_are_refused(declare: Any, name: str) -> None:
    app = App("shop")
    declare(app)
    with pytest.raises(DeclarationError, match=f"would both be named {name} on AWS: rename what is declared"):
        synth(app)


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("AWS_REGION", "not one of Lambda's .*, got 'AWS_REGION'"),
        ("AFTERWRITE_APP", "or of afterwrite's .*, got 'AFTERWRITE_APP'"),
        ("1X", "a letter first, .*, got '1X'"),
        ("STAGE", "the parameter Stage would have the name of another parameter"),
        ("ORDERS_TABLE", "the parameter OrdersTable would have the name of another parameter or a resource"),
    ],
)
def test_a_variable_that_no_function_can_be_given_is_refused(variable: str, message: str) -> None:
    app, _ = an_app()

    @app.function()
    def call(request: Any, context: Any) -> None: ...

    with pytest.raises(DeclarationError, match=message):
        synth(app, Options(environment=(variable,)))


def test_parameters_and_conditions_that_nothing_uses_are_left_out() -> None:
    app = App("shop")
    app.queue("jobs")
    bare = synth(app)
    assert lint(cloudformation.render(bare)) == []
    assert {each.name for each in bare.parameters}.isdisjoint({"CodeBucket", "RouteConcurrency", "RedriveDeadLetters"})
    app.queue("more").consumer()(consume)
    served = synth(app)
    assert lint(cloudformation.render(served)) == []
    assert "CodeBucket" in {each.name for each in served.parameters}
    assert "RedrivesDeadLetters" not in {each.name for each in served.conditions}


def consume(message: Any, context: Any) -> None: ...
