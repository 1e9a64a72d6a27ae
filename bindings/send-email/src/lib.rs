//! send_email: mail kept as .eml files or handed to SMTP.
