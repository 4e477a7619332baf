"""Calls to chat servers: choice of the server, retries, and bodies of many megabytes."""
