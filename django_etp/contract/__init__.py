"""The contract of a namespace with its clients: as AsyncAPI, for TypeScript, and compared with an earlier version."""
