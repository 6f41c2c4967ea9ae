"""The examination of a deployment from outside, and the answers of a server to its questions."""
