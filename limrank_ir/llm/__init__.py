"""Language models behind an API: a chat client, what counts as an answer, and the journal of both."""
