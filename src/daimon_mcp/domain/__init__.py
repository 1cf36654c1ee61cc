"""Facts and rules of mail for agents. Pure: imports nothing of ours, does no I/O."""
