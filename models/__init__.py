"""Learners, judges and recipes: code that makes routers and compares them, never the artifacts."""
