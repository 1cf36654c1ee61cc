"""How quick daimon-mcp is, beside a floor or a peer of the same run. `python -m benchmarks` runs all, briefly."""
