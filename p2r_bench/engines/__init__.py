"""What runs requests: `transformers` in process, `openai` over HTTP, and a scripted one for tests."""
