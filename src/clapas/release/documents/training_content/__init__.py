"""The Public Summary of Training Content that article 53(1)(d) of the AI Act asks of every provider."""
