// What a Node.js program does with a table, through the AWS SDK's clients; each step throws where an answer is wrong.
import assert from "node:assert/strict";
import {
  ConditionalCheckFailedException,
  CreateTableCommand,
  DeleteTableCommand,
  DynamoDBClient,
  GetItemCommand,
  ListTablesCommand,
  ResourceNotFoundException,
  TransactionCanceledException,
  waitUntilTableExists,
  waitUntilTableNotExists,
} from "@aws-sdk/client-dynamodb";
import {
  BatchGetCommand,
  BatchWriteCommand,
  DeleteCommand,
  DynamoDBDocumentClient,
  GetCommand,
  PutCommand,
  TransactGetCommand,
  TransactWriteCommand,
  UpdateCommand,
  paginateQuery,
  paginateScan,
} from "@aws-sdk/lib-dynamodb";

const TableName = "javascript";
const client = new DynamoDBClient({
  endpoint: process.argv[2],
  region: "eu-central-1",
  credentials: { accessKeyId: "any", secretAccessKey: "any" },
  maxAttempts: 1,
});
const documents = DynamoDBDocumentClient.from(client);

const steps = {
  async "a table with an index is made and waited for"() {
    await client.send(
      new CreateTableCommand({
        TableName,
        KeySchema: [
          { AttributeName: "artist", KeyType: "HASH" },
          { AttributeName: "song", KeyType: "RANGE" },
        ],
        AttributeDefinitions: [
          { AttributeName: "artist", AttributeType: "S" },
          { AttributeName: "song", AttributeType: "N" },
          { AttributeName: "genre", AttributeType: "S" },
        ],
        GlobalSecondaryIndexes: [
          {
            IndexName: "genres",
            KeySchema: [
              { AttributeName: "genre", KeyType: "HASH" },
              { AttributeName: "song", KeyType: "RANGE" },
            ],
            Projection: { ProjectionType: "ALL" },
          },
        ],
        BillingMode: "PAY_PER_REQUEST",
      }),
    );
    const waited = await waitUntilTableExists({ client, minDelay: 1, maxWaitTime: 20 }, { TableName });
    assert.equal(waited.state, "SUCCESS");
  },

  async "values of every type come back"() {
    const Item = {
      artist: "ä 漢字 🎉",
      song: -1.5e-100,
      big: 12345678901234567890n,
      bytes: new Uint8Array([0, 127, 255]),
      yes: true,
      nothing: null,
      texts: new Set(["a", "b"]),
      numbers: new Set([1, 2.5]),
      list: [1, "two", [{ three: null }], []],
      map: { inner: { deeper: [false] }, empty: {} },
    };
    await documents.send(new PutCommand({ TableName, Item }));
    const Key = { artist: Item.artist, song: Item.song };
    assert.deepEqual((await documents.send(new GetCommand({ TableName, Key }))).Item, Item);
    assert.equal((await documents.send(new GetCommand({ TableName, Key: { ...Key, song: 0 } }))).Item, undefined);
    await documents.send(new DeleteCommand({ TableName, Key }));
  },

  async "conditions decide, and updates answer"() {
    const Key = { artist: "A", song: 0 };
    const ConditionExpression = "attribute_not_exists(artist)";
    await documents.send(new PutCommand({ TableName, Item: { ...Key, plays: 1 }, ConditionExpression }));
    await assert.rejects(
      documents.send(
        new PutCommand({ TableName, Item: Key, ConditionExpression, ReturnValuesOnConditionCheckFailure: "ALL_OLD" }),
      ),
      (error) => error instanceof ConditionalCheckFailedException && error.Item.plays.N === "1",
    );
    const updated = await documents.send(
      new UpdateCommand({
        TableName,
        Key,
        UpdateExpression: "SET #l = list_append(if_not_exists(#l, :none), :entry) ADD plays :one",
        ExpressionAttributeNames: { "#l": "list" },
        ExpressionAttributeValues: { ":none": [], ":entry": ["now"], ":one": 1 },
        ReturnValues: "UPDATED_NEW",
      }),
    );
    assert.deepEqual(updated.Attributes, { list: ["now"], plays: 2 });
  },

  async "batches, queries and scans with their pages"() {
    const puts = Array.from({ length: 24 }, (_, song) => ({
      PutRequest: { Item: { artist: "B", song, ...(song % 2 ? { genre: "odd" } : {}), text: "x".repeat(5000) } },
    }));
    const written = await documents.send(new BatchWriteCommand({ RequestItems: { [TableName]: puts } }));
    assert.deepEqual(written.UnprocessedItems, {});
    const collect = async (pages) => {
      const found = [];
      let count = 0;
      for await (const page of pages) {
        found.push(...page.Items.map((item) => item.song));
        count += 1;
      }
      return [found, count];
    };
    const backwards = paginateQuery(
      { client: documents, pageSize: 2 },
      {
        TableName,
        KeyConditionExpression: "artist = :a AND song BETWEEN :from AND :to",
        ExpressionAttributeValues: { ":a": "B", ":from": 5, ":to": 9 },
        ScanIndexForward: false,
      },
    );
    assert.deepEqual(await collect(backwards), [[9, 8, 7, 6, 5], 3]);
    const indexed = paginateQuery(
      { client: documents },
      {
        TableName,
        IndexName: "genres",
        KeyConditionExpression: "genre = :g AND song > :n",
        ExpressionAttributeValues: { ":g": "odd", ":n": 18 },
      },
    );
    assert.deepEqual((await collect(indexed))[0], [19, 21, 23]);
    const [all] = await collect(paginateScan({ client: documents, pageSize: 10 }, { TableName }));
    assert.equal(all.length, 25);
    const Keys = [1, 2, 99].map((song) => ({ artist: "B", song }));
    const got = await documents.send(new BatchGetCommand({ RequestItems: { [TableName]: { Keys } } }));
    assert.equal(got.Responses[TableName].length, 2);
  },

  async "transactions are all or nothing"() {
    const put = (song) => ({ Put: { TableName, Item: { artist: "C", song } } });
    await documents.send(new TransactWriteCommand({ TransactItems: [put(1), put(2)] }));
    const ConditionCheck = {
      TableName,
      Key: { artist: "C", song: 9 },
      ConditionExpression: "attribute_exists(artist)",
    };
    await assert.rejects(
      documents.send(new TransactWriteCommand({ TransactItems: [put(3), { ConditionCheck }] })),
      (error) =>
        error instanceof TransactionCanceledException &&
        error.CancellationReasons.map((reason) => reason.Code).join() === "None,ConditionalCheckFailed",
    );
    const get = (song) => ({ Get: { TableName, Key: { artist: "C", song } } });
    const read = await documents.send(new TransactGetCommand({ TransactItems: [get(2), get(3)] }));
    assert.deepEqual(read.Responses, [{ Item: { artist: "C", song: 2 } }, {}]);
  },

  async "a table is deleted, and its absence has a name"() {
    await client.send(new DeleteTableCommand({ TableName }));
    const waited = await waitUntilTableNotExists({ client, minDelay: 1, maxWaitTime: 20 }, { TableName });
    assert.equal(waited.state, "SUCCESS");
    assert.ok(!(await client.send(new ListTablesCommand({}))).TableNames.includes(TableName));
    const Key = { artist: { S: "A" }, song: { N: "0" } };
    await assert.rejects(client.send(new GetItemCommand({ TableName, Key })), ResourceNotFoundException);
  },
};

for (const [name, step] of Object.entries(steps)) {
  await step();
  console.log(name);
}
