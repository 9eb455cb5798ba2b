"""The proofs by what they are about: jobs, trades, prices."""
