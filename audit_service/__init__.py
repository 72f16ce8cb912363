"""The audit trail: who did what to which thing, in one chain of hashes that shows every later change."""
