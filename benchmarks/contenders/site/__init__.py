"""Our contender: a Django project whose handlers are measured."""
