"""The bell: rung after a commit, heard by whoever waits."""
