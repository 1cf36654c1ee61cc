"""What results look like: for the API's description, and for tests to hold real answers against. Nothing is built
of them: operations answer in plain data."""
