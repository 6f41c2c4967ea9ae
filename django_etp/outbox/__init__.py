"""Durable events: stored in the transaction that emits them, and relayed once it has committed."""
