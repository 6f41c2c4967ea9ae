"""Payloads of declared types: read and written by the library that the type belongs to."""
