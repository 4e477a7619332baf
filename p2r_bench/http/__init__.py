"""Calls to chat servers: which server to ask, when to ask again, and bodies of many megabytes."""
