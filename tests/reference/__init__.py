"""The reference server's handlers, as a Django project that daphne and uvicorn can run."""
