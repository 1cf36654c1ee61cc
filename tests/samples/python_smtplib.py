"""Send a mail with Python's smtplib: port 587, STARTTLS, a password."""

import os
import smtplib
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

message = MIMEMultipart("alternative")
message["Subject"] = "Hello from smtplib"
message["From"] = os.environ["SMTP_FROM"]
message["To"] = os.environ["SMTP_TO"]
message.attach(MIMEText("Sent by Python over SMTP.", "plain"))
message.attach(MIMEText("<p>Sent by Python over <strong>SMTP</strong>.</p>", "html"))

with smtplib.SMTP(os.environ["SMTP_HOST"], int(os.environ["SMTP_PORT"])) as server:
    server.starttls()
    server.login(os.environ["SMTP_USERNAME"], os.environ["SMTP_PASSWORD"])
    server.send_message(message)

print("sent")  # noqa: T201
