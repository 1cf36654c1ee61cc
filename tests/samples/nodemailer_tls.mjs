// Send a mail with nodemailer: port 465, TLS from the first byte, a password.
import nodemailer from "nodemailer";

const { SMTP_HOST, SMTP_PORT, SMTP_USERNAME, SMTP_PASSWORD, SMTP_FROM, SMTP_TO } = process.env;

const transporter = nodemailer.createTransport({
  host: SMTP_HOST,
  port: Number(SMTP_PORT),
  secure: true, // TLS at once
  auth: { user: SMTP_USERNAME, pass: SMTP_PASSWORD },
});

const info = await transporter.sendMail({
  from: SMTP_FROM,
  to: SMTP_TO,
  subject: "Hello from nodemailer over TLS",
  text: "Sent by Node over SMTP and TLS.",
});

console.log("sent %s", info.messageId);
