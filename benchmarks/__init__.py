"""Every claim of the README as a command that prints JSON: `python -m benchmarks NAME`."""
