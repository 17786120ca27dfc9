// What a Node.js program does with a Kinesis stream, through the AWS SDK's client; each step throws where an answer is
// wrong. The client speaks HTTP/2 unless it is given another handler.
import assert from "node:assert/strict";
import {
  CreateStreamCommand,
  DeleteStreamCommand,
  GetRecordsCommand,
  GetShardIteratorCommand,
  KinesisClient,
  ListShardsCommand,
  PutRecordsCommand,
  ResourceNotFoundException,
  waitUntilStreamExists,
} from "@aws-sdk/client-kinesis";
import { NodeHttpHandler } from "@smithy/node-http-handler";

const StreamName = "javascript";
const client = new KinesisClient({
  endpoint: process.argv[2],
  region: "eu-central-1",
  credentials: { accessKeyId: "any", secretAccessKey: "any" },
  maxAttempts: 1,
  requestHandler: new NodeHttpHandler(),
});

const steps = {
  async "a stream is made and waited for"() {
    await client.send(new CreateStreamCommand({ StreamName, ShardCount: 2 }));
    await waitUntilStreamExists({ client, minDelay: 1, maxWaitTime: 20 }, { StreamName });
  },

  async "records are put, and read from their shards"() {
    const Records = [1, 2, 3, 4].map((each) => ({ PartitionKey: `ключ ${each}`, Data: new Uint8Array([each, 255]) }));
    const put = await client.send(new PutRecordsCommand({ StreamName, Records }));
    assert.equal(put.FailedRecordCount, 0);
    const found = [];
    const { Shards } = await client.send(new ListShardsCommand({ StreamName }));
    assert.equal(Shards.length, 2);
    for (const { ShardId } of Shards) {
      const Timestamp = new Date(Date.now() - 60_000);
      const { ShardIterator } = await client.send(
        new GetShardIteratorCommand({ StreamName, ShardId, ShardIteratorType: "AT_TIMESTAMP", Timestamp }),
      );
      const read = await client.send(new GetRecordsCommand({ ShardIterator }));
      found.push(...read.Records);
    }
    found.sort((one, other) => one.Data[0] - other.Data[0]);
    assert.deepEqual(found.map((each) => ({ PartitionKey: each.PartitionKey, Data: each.Data })), Records);
    assert.ok(found.every((each) => each.ApproximateArrivalTimestamp instanceof Date));
  },

  async "errors are of their classes"() {
    await client.send(new DeleteStreamCommand({ StreamName }));
    await assert.rejects(client.send(new DeleteStreamCommand({ StreamName })), ResourceNotFoundException);
  },
};

for (const [name, step] of Object.entries(steps)) {
  await step();
  console.log(name);
}
