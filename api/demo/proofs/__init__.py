"""The proofs by what they are about: jobs, alerts, trades, prices."""
