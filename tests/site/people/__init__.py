"""An app with a user model whose key is a UUID."""
