"""Language models behind an API: a chat client, checks of answers, and a journal of requests and answers."""
