"""One shard of a stream, taken in order: the same for whoever reads it, the consumer or a Lambda."""
