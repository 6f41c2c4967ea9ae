"""The processes of one site, over a channel layer."""
