"""The gateway beside its peers, in one run on the same two cores."""
