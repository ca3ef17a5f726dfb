"""Prefect flows: where paths, the clock, MLflow and settings meet the learning code."""
