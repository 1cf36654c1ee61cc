// Send a mail with nodemailer: port 587, STARTTLS, a password.
import nodemailer from "nodemailer";

const { SMTP_HOST, SMTP_PORT, SMTP_USERNAME, SMTP_PASSWORD, SMTP_FROM, SMTP_TO } = process.env;

const transporter = nodemailer.createTransport({
  host: SMTP_HOST,
  port: Number(SMTP_PORT),
  secure: false, // STARTTLS
  auth: { user: SMTP_USERNAME, pass: SMTP_PASSWORD },
});

const info = await transporter.sendMail({
  from: SMTP_FROM,
  to: SMTP_TO,
  subject: "Hello from nodemailer",
  text: "Sent by Node over SMTP.",
  html: "<p>Sent by Node over <strong>SMTP</strong>.</p>",
});

console.log("sent %s", info.messageId);
