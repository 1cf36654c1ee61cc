"""Text out of attachments, read in a process of its own with hard limits.

`service.py` is the owner's side; the child process runs `child.py` and loads one module of `formats/` for each job.
Nothing is imported here, so that the child starts quickly.
"""
