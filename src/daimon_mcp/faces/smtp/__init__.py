"""SMTP: mail from other servers, as one more face of the core."""
