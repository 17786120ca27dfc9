"""Orders: a table of orders, and the e-mails and text messages that its customers get."""
