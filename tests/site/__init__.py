"""The Django project that servers under test run, on daphne and uvicorn alike."""
