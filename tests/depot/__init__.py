"""An app with models of each kind, for tests in process."""
