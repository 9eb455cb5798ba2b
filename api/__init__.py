"""The HTTP service around the job engine. Runs from the checkout or its image; not in the wheel."""
