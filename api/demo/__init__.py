"""`python -m api demo`: the platform at work in processes of its own, and proved."""
