"""Warm scoring on an event source mapping: what the consumer does, for tenants too small for workers."""
