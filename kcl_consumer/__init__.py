"""The warm path with state: one process per shard, kept by the Kinesis Client Library's daemon."""
