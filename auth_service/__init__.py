"""Who people are and what they may do: accounts, sessions, tokens, roles and permissions."""
