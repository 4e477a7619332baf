"""Frozen models and the verifier: started or adopted, checked, asked, and stopped."""
