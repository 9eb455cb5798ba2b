"""An agent as users run one: it knows the HTTP interface and nothing else of this project."""
